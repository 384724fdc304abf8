// A core of Loihi's integer neurons: events walk lists of synapses, a tick walks the neurons.
//
// What a timestep computes is the policy `loihi.lava` of ir/spike/loihi.py with its refractory
// period. All state lies in memories with one read and one write port, read synchronously.
//
// An event on an axon adds the weights of the axon's list to the sums of their neurons. A tick
// turns the sums into currents and voltages, clears them and sends the spikes, in order of the
// neurons; what spikes do to this core comes back as events before the next tick.
//
// Cycles: after an event with F synapses the core is ready again in 1 + F cycles; after a tick,
// in NEURONS + 5 and one for each cycle in which a spike waits for `spike_ready_i`. The spike
// of neuron n is on the port n + 5 cycles after the tick, and later by what spikes before it
// waited. After reset the core clears its state for NEURONS cycles. A tick waits where an event
// comes in the same cycle.
//
// The outside writes a word per cycle, but not while a tick runs. Memory 0: lists {start,
// count} by axon; 1: synapses {neuron, weight (9 bits with sign)}; 2: neurons {group, bias
// mantissa (13 with sign)}; 3: groups {refractory period - 1 (6), bias exponent (3), weight
// exponent (4 with sign), threshold (17), voltage decay (12), current decay (12)}.
//
// `error_o` stays until reset: 1 no such axon, 2 a list that ends behind the synapses, 3 no
// such neuron, which are left out; 4 a sum that left its SUM_W bits and wrapped, which 9 +
// clog2(spikes that one neuron hears in a timestep) bits prevent.
`default_nettype none
module lif #(
    parameter int unsigned NEURONS = 64,  // two or more of each
    parameter int unsigned AXONS = 64,
    parameter int unsigned SYNAPSES = 1024,
    parameter int unsigned GROUPS = 4,  // a power of two
    parameter int unsigned SUM_W = 20,
    // follow from the above
    parameter int unsigned NEURON_W = $clog2(NEURONS),
    parameter int unsigned AXON_W = $clog2(AXONS),
    parameter int unsigned SYNAPSE_W = $clog2(SYNAPSES),
    parameter int unsigned GROUP_W = $clog2(GROUPS),
    parameter int unsigned LIST_W = 2 * SYNAPSE_W + 1,
    parameter int unsigned WORDS = AXONS > NEURONS ? AXONS : NEURONS,
    parameter int unsigned ADDRESS_W = $clog2(WORDS > SYNAPSES ? WORDS : SYNAPSES)
) (
    input  wire                  clk_i,
    input  wire                  reset_i,
    input  wire                  write_i,
    input  wire  [          1:0] write_memory_i,
    input  wire  [ADDRESS_W-1:0] write_address_i,
    input  wire  [         53:0] write_data_i,
    input  wire                  event_valid_i,
    output logic                 event_ready_o,
    input  wire  [   AXON_W-1:0] event_axon_i,
    input  wire                  tick_valid_i,
    output logic                 tick_ready_o,
    output logic                 spike_valid_o,
    input  wire                  spike_ready_i,
    output logic [ NEURON_W-1:0] spike_neuron_o,
    output logic [          2:0] error_o
);
  localparam int unsigned WIDE = SUM_W > 24 ? SUM_W : 24;
  localparam logic [1:0] CLEAR = 2'd0, SERVE = 2'd1, TICK = 2'd2;
  localparam logic signed [26:0] LIMIT = 27'sd8388607;

  logic [LIST_W-1:0] lists[AXONS];
  logic [NEURON_W+8:0] synapses[SYNAPSES];
  logic [GROUP_W+12:0] neurons[NEURONS];
  logic [53:0] groups[GROUPS];
  // {silent timesteps, v, u}; a current of 2^23, which Lava's has and -2^23 not, is 24'h800000
  logic [53:0] states[NEURONS]  /* verilator public_flat_rw */;
  logic signed [SUM_W-1:0] sums[NEURONS]  /* verilator public_flat_rw */;

  always_ff @(posedge clk_i)
    if (write_i)
      unique case (write_memory_i)
        2'd0: lists[AXON_W'(write_address_i)] <= write_data_i[LIST_W-1:0];
        2'd1: synapses[SYNAPSE_W'(write_address_i)] <= write_data_i[NEURON_W+8:0];
        2'd2: neurons[NEURON_W'(write_address_i)] <= write_data_i[GROUP_W+12:0];
        2'd3: groups[GROUP_W'(write_address_i)] <= write_data_i;
      endcase

  logic [1:0] phase;
  logic event_taken, tick_taken;

  // Events. A cycle reads a synapse, the next its neuron's sum, the third writes the new sum.
  logic [LIST_W-1:0] list;
  logic [SYNAPSE_W-1:0] at, here;
  logic [SYNAPSE_W:0] left, remaining;
  logic fetched, legal, walks;
  logic [NEURON_W+8:0] synapse;
  logic [NEURON_W-1:0] target, added_to, wrote_to;
  logic reads, known, adds, wrote;
  logic signed [8:0] weight;
  logic signed [SUM_W-1:0] sum, wrote_sum;
  logic signed [SUM_W:0] sum_n;

  // A tick. A cycle reads a neuron, the next decays, the third fires, the last sends.
  logic [NEURON_W:0] next;
  logic [NEURON_W-1:0] decayed, fires_at;
  logic hold, settled, issues, decays, fires, sends, ends;
  logic [GROUP_W+12:0] neuron;
  logic [53:0] state, group, state_n;
  logic signed [24:0] u_n, u, v_kept, bias;
  logic [5:0] silent, period;
  logic [16:0] threshold;
  logic signed [26:0] v_n;
  logic fired;

  // The ports of the memories of state.
  logic [NEURON_W-1:0] read_at, write_at;
  logic write_state, write_sum;

  // What a decay keeps, in 4096ths: of the magnitude, so it rounds toward zero.
  function automatic logic signed [24:0] kept(input logic signed [24:0] x,
                                              input logic [12:0] part);
    logic [23:0] size;
    logic [36:0] product;
    size = x < 0 ? 24'(-x) : 24'(x);
    product = 37'(size) * 37'(part);
    kept = 25'(product >> 12);
    if (x < 0) kept = -kept;
  endfunction

  function automatic logic signed [24:0] current(input logic [23:0] code);
    current = code == 24'h800000 ? 25'sh0800000 : 25'($signed(code));
  endfunction

  // The exponent of a negative power shifts the whole sum, so it rounds down.
  function automatic logic [23:0] charge(input logic signed [SUM_W-1:0] total,
                                         input logic signed [3:0] exponent);
    logic signed [WIDE-1:0] x;
    x = WIDE'(total);
    x = exponent < 0 ? x >>> 4'(-exponent) : x << 4'(exponent);
    charge = 24'(x << 6);
  endfunction

  always_comb begin
    hold = spike_valid_o && !spike_ready_i;
    legal = 32'(list[LIST_W-1:SYNAPSE_W+1]) + 32'(list[SYNAPSE_W:0]) <= SYNAPSES;
    here = fetched ? list[LIST_W-1:SYNAPSE_W+1] : at;
    remaining = !fetched ? left : legal ? list[SYNAPSE_W:0] : '0;
    walks = remaining != 0;
    event_ready_o = phase == SERVE && !walks;
    tick_ready_o = event_ready_o && !event_valid_i;
    event_taken = event_ready_o && event_valid_i;
    tick_taken = tick_ready_o && tick_valid_i;
    target = synapse[NEURON_W+8:9];
    known = 32'(target) < NEURONS;
    sum_n = (SUM_W + 1)'(wrote && wrote_to == added_to ? wrote_sum : sum);
    sum_n = sum_n + (SUM_W + 1)'(weight);
  end

  always_comb begin
    issues = phase == TICK && settled && 32'(next) < NEURONS;
    group = groups[neuron[GROUP_W+12:13]];
    u_n = kept(current(state[23:0]), 13'd4095 - 13'(group[11:0]));
    u_n = current(u_n[23:0] + charge(sum, $signed(group[44:41])));
    // the sum behind, in 27 bits, cannot overflow: |v| <= 2^23, |u| <= 2^23, |bias| <= 2^19
    v_n = 27'(v_kept) + 27'(u) + 27'(bias);
    if (v_n > LIMIT) v_n = LIMIT;
    if (v_n < -LIMIT) v_n = -LIMIT;
    if (silent != 0) v_n = '0;
    fired = v_n > $signed({4'd0, threshold, 6'd0});
    state_n = {
      fired ? period : silent == 0 ? 6'd0 : silent - 6'd1, fired ? 24'd0 : v_n[23:0], u[23:0]
    };
    read_at = phase == TICK ? NEURON_W'(next) : target;
    write_state = phase == CLEAR || (fires && !hold);
    write_sum = write_state || adds;
    write_at = phase == CLEAR ? NEURON_W'(next) : write_state ? fires_at : added_to;
    ends = sends && !hold && 32'(spike_neuron_o) == NEURONS - 1;
  end

  always_ff @(posedge clk_i) begin
    // events
    if (event_taken) list <= lists[event_axon_i];
    if (walks) synapse <= synapses[here];
    at <= here + 1'b1;
    added_to <= target;
    weight <= synapse[8:0];
    wrote_to <= added_to;
    wrote_sum <= SUM_W'(sum_n);
    // neurons
    if (!hold) begin
      sum <= sums[read_at];
      state <= states[NEURON_W'(next)];
      neuron <= neurons[NEURON_W'(next)];
      decayed <= NEURON_W'(next);
      u <= u_n;
      v_kept <= kept(25'($signed(state[47:24])), 13'd4096 - 13'(group[23:12]));
      bias <= 25'($signed(neuron[12:0])) <<< group[47:45];
      {silent, period, threshold} <= {state[53:48], group[53:48], group[40:24]};
      fires_at <= decayed;
      spike_neuron_o <= fires_at;
    end
    if (write_state) states[write_at] <= phase == CLEAR ? '0 : state_n;
    if (write_sum) sums[write_at] <= write_state ? '0 : SUM_W'(sum_n);
  end

  always_ff @(posedge clk_i)
    if (reset_i) begin
      phase <= CLEAR;
      next <= '0;
      {fetched, reads, adds, wrote, settled, decays, fires, sends} <= '0;
      left <= '0;
      spike_valid_o <= 1'b0;
      error_o <= '0;
    end else begin
      fetched <= event_taken && 32'(event_axon_i) < AXONS;
      left <= walks ? remaining - 1'b1 : '0;
      reads <= walks;
      adds <= reads && known;
      wrote <= adds;
      if (event_taken && 32'(event_axon_i) >= AXONS) error_o <= 3'd1;
      if (fetched && !legal) error_o <= 3'd2;
      if (reads && !known) error_o <= 3'd3;
      if (adds && sum_n[SUM_W] != sum_n[SUM_W-1]) error_o <= 3'd4;
      if (!hold) begin
        settled <= phase == TICK && !ends;
        decays <= issues;
        fires <= decays;
        sends <= fires;
        spike_valid_o <= fires && fired;
        if (issues || phase == CLEAR) next <= next + 1'b1;
      end
      if (phase == CLEAR && 32'(next) == NEURONS - 1) phase <= SERVE;
      if (tick_taken) {phase, next} <= {TICK, (NEURON_W + 1)'(0)};
      if (ends) phase <= SERVE;
    end
endmodule
`default_nettype wire
