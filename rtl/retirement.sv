// How many of an engine's instructions are outstanding.
//
// An instruction retires `latency_i` cycles after its last issue, but not before the one sent
// before it. What waits lies in a queue of (cycle, how many), whose cycles ascend, so that one
// entry at most is due at a time; a longer latency before a shorter one merges them.
`default_nettype none
module retirement #(
    parameter int unsigned LOG_DEPTH = 10,
    parameter int unsigned CYCLE_W = 40,
    parameter int unsigned COUNT_W = 20
) (
    input  wire                clk_i,
    input  wire                reset_i,
    input  wire  [CYCLE_W-1:0] cycle_i,
    input  wire                sent_i,
    input  wire                last_i,
    input  wire  [CYCLE_W-1:0] latency_i,
    output logic [COUNT_W-1:0] outstanding_o
);
  localparam int unsigned DEPTH = 2 ** LOG_DEPTH;
  logic [CYCLE_W-1:0] due[DEPTH], newest, next_due;
  logic [COUNT_W-1:0] count[DEPTH], retired;
  logic [LOG_DEPTH-1:0] head, tail, youngest;
  logic held, pops, at_once, merges;

  always_comb begin
    held = head != tail;
    youngest = tail - 1'b1;
    next_due = cycle_i + latency_i;
    if (held && newest > next_due) next_due = newest;
    at_once = last_i && next_due == cycle_i;
    merges = last_i && !at_once && held && next_due == newest;
    pops = held && due[head] == cycle_i;
    retired = (pops ? count[head] : '0) + COUNT_W'(at_once);
  end

  always_ff @(posedge clk_i)
    if (reset_i) begin
      head <= '0;
      tail <= '0;
      outstanding_o <= '0;
    end else begin
      assert (retired <= outstanding_o)
      else $error("more retires than is outstanding");
      assert (!last_i || at_once || merges || tail + 1'b1 != head || pops)
      else $error("the queue of what waits is full");
      outstanding_o <= outstanding_o + COUNT_W'(sent_i) - retired;
      if (pops) head <= head + 1'b1;
      if (merges) count[youngest] <= count[youngest] + 1'b1;
      else if (last_i && !at_once) begin
        due[tail] <= next_due;
        count[tail] <= COUNT_W'(1);
        newest <= next_due;
        tail <= tail + 1'b1;
      end
    end
endmodule
`default_nettype wire
