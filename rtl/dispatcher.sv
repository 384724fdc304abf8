// Instruction memory, waits and the MARK trace: in order, at most one instruction a cycle.
//
// A word waits for its engine to take it and for each engine that its waits name: v >= 1 asks
// that all sent there, but the v - 1 latest, have retired. HALT waits for all of them. An illegal
// word, and one that this configuration lacks (`known_i`), stop the machine with an error code.
`default_nettype none
module dispatcher
  import tpu_isa_pkg::*;
#(
    parameter int unsigned LOG_WORDS = 12,
    parameter int unsigned LOG_NAMED = 2,
    parameter int unsigned LOG_MARKS = 10,
    parameter int unsigned CYCLE_W = 40,
    parameter int unsigned COUNT_W = 20
) (
    input  wire                              clk_i,
    input  wire                              reset_i,
    input  wire  [ENGINES-1:0]               accept_i,
    input  wire  [ENGINES-1:0][COUNT_W-1:0]  outstanding_i,
    input  wire                              known_i,
    output logic [WORD_BITS-1:0]             word_o,
    output logic [31:0]                      number_o,  // of that word
    output logic                             dispatched_o,
    output logic [NAMED_BITS-1:0]            named_o,  // the routine or gather that it names
    output logic [ENGINES-1:0]               send_o,
    output logic [CYCLE_W-1:0]               cycle_o,
    output logic                             done_o
);
  localparam logic [7:0] NO_ERROR = 8'd0, ILLEGAL = 8'd1, UNKNOWN = 8'd2;
  logic [WORD_BITS-1:0] words[2**LOG_WORDS]  /* verilator public_flat_rw */;
  // routines, then gathers
  logic [NAMED_BITS-1:0] named[2**LOG_NAMED]  /* verilator public_flat_rw */;
  logic [31:0] routines[1]  /* verilator public_flat_rw */;  // how many
  logic [63:0] dispatched[2**LOG_WORDS]  /* verilator public_flat_rw */;
  logic [63:0] marks[2**LOG_MARKS]  /* verilator public_flat_rw */;  // id above cycle
  logic [31:0] status[4]  /* verilator public_flat_rw */;  // error, its word, marks, whether it has ended

  logic [LOG_WORDS-1:0] at;
  logic [LOG_MARKS-1:0] marked;
  logic [3:0] opcode;
  logic [2:0] engine;
  logic ready, valid;

  always_comb begin
    opcode = word_o[3:0];
    number_o = 32'(at);
    engine = engine_of(opcode);
    valid = legal(word_o) && known_i;
    ready = valid && !done_o;
    if (32'(engine) != NO_ENGINE && !accept_i[engine]) ready = 1'b0;
    for (int unsigned e = 0; e < ENGINES; e++)
      if (opcode == OP_HALT ? outstanding_i[e] != 0
          : word_o[WAIT_L+WAIT_W*e+:WAIT_W] != 0
            && outstanding_i[e] >= COUNT_W'(word_o[WAIT_L+WAIT_W*e+:WAIT_W]))
        ready = 1'b0;
    dispatched_o = ready;
    send_o = '0;
    if (ready && 32'(engine) != NO_ENGINE) send_o[engine] = 1'b1;
  end

  // Where the entry lies that a word names.
  function automatic logic [LOG_NAMED-1:0] entry_of(input logic [LOG_WORDS-1:0] number);
    automatic logic [31:0] entry = 32'(words[number][GTH_ROUTINE_L+:GTH_ROUTINE_W]);
    if (words[number][3:0] == OP_GTH) entry = entry + routines[0];
    return LOG_NAMED'(entry);
  endfunction

  always_ff @(posedge clk_i)
    if (reset_i) begin
      at <= '0;
      marked <= '0;
      cycle_o <= '0;
      done_o <= 1'b0;
      word_o <= words[0];
      status[0] <= 32'(NO_ERROR);
      status[2] <= '0;
      status[3] <= '0;
    end else begin
      cycle_o <= cycle_o + 1'b1;
      if (ready) begin
        at <= at + 1'b1;
        word_o <= words[at+1'b1];
        named_o <= named[entry_of(at + 1'b1)];
        dispatched[at] <= 64'(cycle_o);
        if (opcode == OP_MARK) begin
          marks[marked] <= {word_o[MARK_ID_L+:MARK_ID_W], 40'(cycle_o)};
          marked <= marked + 1'b1;
          status[2] <= 32'(marked) + 1'b1;
        end
        if (opcode == OP_HALT) begin
          done_o <= 1'b1;
          status[3] <= 32'd1;
        end
      end else if (!valid && !done_o) begin
        done_o <= 1'b1;
        status[3] <= 32'd1;
        status[0] <= 32'(legal(word_o) ? UNKNOWN : ILLEGAL);
        status[1] <= 32'(at);
      end
    end
endmodule
`default_nettype wire
