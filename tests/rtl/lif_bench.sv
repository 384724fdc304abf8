// Plays a list of operations into a LIF core and keeps what it answers, and when.
//
// Operation n is offered until the core takes it, in cycle `taken[n]`; cycle 0 is the first
// behind reset. A tick is offered beside the event before it too, which must come first. Entry
// n of `spikes` is {cycle, neuron} of the n-th spike; `ready` says in which cycles one is taken.
// `states` holds every state that a tick wrote, in order. `keep` leaves the core's memories as
// they are, for states that are put there.
`default_nettype none
module lif_bench #(
    parameter int unsigned NEURONS = 16,
    parameter int unsigned AXONS = 16,
    parameter int unsigned SYNAPSES = 256,
    parameter int unsigned GROUPS = 4,
    parameter int unsigned SUM_W = 20,
    parameter int unsigned LOG_OPERATIONS = 12,
    parameter int unsigned LOG_SPIKES = 12,
    parameter int unsigned LOG_STATES = 12,
    parameter int unsigned LOG_READY = 10
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  localparam int unsigned OPERATIONS = 2 ** LOG_OPERATIONS;
  // to write memory m is WRITE + m; whatever is behind them lets a cycle pass
  localparam logic [7:0] STOP = 0, EVENT = 1, TICK = 2, WRITE = 3, PASS = 7;
  /* verilator lint_off UNUSEDSIGNAL */
  logic [7:0] operations[OPERATIONS]  /* verilator public_flat_rw */;
  logic [31:0] addresses[OPERATIONS]  /* verilator public_flat_rw */;
  logic [63:0] words[OPERATIONS]  /* verilator public_flat_rw */;
  logic [7:0] ready[2**LOG_READY]  /* verilator public_flat_rw */;
  logic [7:0] keep[2]  /* verilator public_flat_rw */;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [31:0] taken[OPERATIONS]  /* verilator public_flat_rw */;
  logic [63:0] spikes[2**LOG_SPIKES]  /* verilator public_flat_rw */;
  logic [63:0] states[2**LOG_STATES]  /* verilator public_flat_rw */;
  logic [31:0] counts[4]  /* verilator public_flat_rw */;  // cycles, spikes, states, error

  logic [LOG_OPERATIONS-1:0] now;
  logic [7:0] operation, behind;
  logic event_ready, tick_ready, spike_valid, accepted;
  logic [$clog2(NEURONS)-1:0] spike_neuron;
  logic [2:0] error;
  logic spike_ready;

  assign operation = operations[now];
  assign behind = operations[now+1'b1];
  assign spike_ready = ready[counts[0][LOG_READY-1:0]][0];
  always_comb
    case (operation)
      STOP: accepted = 1'b0;
      EVENT: accepted = event_ready;
      TICK: accepted = tick_ready;
      default: accepted = 1'b1;
    endcase

  lif #(
      .NEURONS(NEURONS),
      .AXONS(AXONS),
      .SYNAPSES(SYNAPSES),
      .GROUPS(GROUPS),
      .SUM_W(SUM_W)
  ) core (
      .clk_i,
      .reset_i(reset_i && !keep[0][0]),
      .write_i(operation >= WRITE && operation < PASS),
      .write_memory_i(2'(operation - WRITE)),
      .write_address_i($bits(core.write_address_i)'(addresses[now])),
      .write_data_i(words[now][53:0]),
      .event_valid_i(operation == EVENT),
      .event_ready_o(event_ready),
      .event_axon_i($clog2(AXONS)'(addresses[now])),
      .tick_valid_i(operation == TICK || (operation == EVENT && behind == TICK)),
      .tick_ready_o(tick_ready),
      .spike_valid_o(spike_valid),
      .spike_ready_i(spike_ready),
      .spike_neuron_o(spike_neuron),
      .error_o(error)
  );

  always_ff @(posedge clk_i)
    if (reset_i) begin
      now <= '0;
      done_o <= 1'b0;
      counts[0] <= '0;
      counts[1] <= '0;
      counts[2] <= '0;
    end else begin
      counts[0] <= counts[0] + 1'b1;
      counts[3] <= 32'(error);
      if (accepted) begin
        now <= now + 1'b1;
        taken[now] <= counts[0];
      end
      done_o <= operation == STOP && tick_ready;
      if (operation == STOP && tick_ready && !done_o) taken[now] <= counts[0];
      if (spike_valid && spike_ready) begin
        spikes[counts[1][LOG_SPIKES-1:0]] <= {counts[0], 32'(spike_neuron)};
        counts[1] <= counts[1] + 1'b1;
      end
      if (core.write_state && core.fires) begin
        states[counts[2][LOG_STATES-1:0]] <= 64'(core.state_n);
        counts[2] <= counts[2] + 1'b1;
      end
    end
endmodule
`default_nettype wire
