// The digital side of a crossbar: codes of its converters in, an integer product out.
//
// What it computes is `shift_add` of ir/crossbar/shift_add.py. A product has `digits_i`
// digits of the inputs, lowest first; each has `parts_i` parts of the weights (slices, and the
// negative columns of pairs); each has TURNS conversions, in which converter a serves column
// turn x ADCS + a. A conversion's codes come as a SAR converter finds them: one bit per
// converter and cycle, the highest first. A code counts 2^(shift of the part + digit x
// digit_shift_i), less than nothing where the part is negative or, with `signed_i`, in the last
// digit, which then is the plane of the inputs' signs.
//
// A sum that leaves SUM_W bits saturates or wraps, at that addition; `overflow_o` says that one
// did, from the product's first sum on the port until the next start.
//
// Cycles: after a start the unit is ready again in digits x parts x TURNS x CODE_W + TURNS + 2,
// and one for each cycle in which it waits for bits or a sum waits for `sum_ready_i`. Bits are
// taken from the cycle after the start on; the sums of the first turn are on the port two
// cycles after the last bit. Settings are read at the start.
`default_nettype none
module shift_add #(
    parameter int unsigned COLUMNS = 128,
    parameter int unsigned ADCS = 8,  // a divisor of COLUMNS
    parameter int unsigned CODE_W = 8,
    parameter int unsigned PARTS = 8,  // most of a product
    parameter int unsigned DIGITS = 8,
    parameter int unsigned SHIFT_W = 5,
    parameter int unsigned SUM_W = 32,
    // follow from the above
    parameter int unsigned TURNS = COLUMNS / ADCS,
    parameter int unsigned PART_W = $clog2(PARTS + 1),
    parameter int unsigned DIGIT_W = $clog2(DIGITS + 1)
) (
    input  wire                      clk_i,
    input  wire                      reset_i,
    input  wire                      start_i,
    output logic                     ready_o,
    input  wire  [      DIGIT_W-1:0] digits_i,
    input  wire  [       PART_W-1:0] parts_i,
    input  wire  [      SHIFT_W-1:0] digit_shift_i,
    input  wire  [PARTS*SHIFT_W-1:0] shifts_i,
    input  wire  [        PARTS-1:0] negative_i,
    input  wire                      signed_i,
    input  wire  [              1:0] format_i,       // 0 unsigned, 1 offset binary, 2 signed
    input  wire                      saturate_i,
    input  wire                      bits_valid_i,
    output logic                     bits_ready_o,
    input  wire  [         ADCS-1:0] bits_i,
    output logic                     sums_valid_o,
    input  wire                      sums_ready_i,
    output logic [   ADCS*SUM_W-1:0] sums_o,
    output logic                     overflow_o
);
  localparam int unsigned WIDE = CODE_W + SUM_W + 2;
  localparam int unsigned PLACE_W = $clog2(CODE_W + 1);
  localparam int unsigned TURN_W = TURNS > 1 ? $clog2(TURNS) : 1;
  localparam int unsigned BASE_W = SHIFT_W + DIGIT_W;
  localparam logic signed [WIDE-1:0] TOP = (WIDE'(1) << (SUM_W - 1)) - 1;
  localparam logic [1:0] IDLE = 2'd0, CONVERT = 2'd1, SEND = 2'd2;
  localparam logic [1:0] OFFSET = 2'd1, SIGNED = 2'd2;

  logic [1:0] phase;
  // the product's settings
  logic [DIGIT_W-1:0] digits;
  logic [PART_W-1:0] parts;
  logic [SHIFT_W-1:0] digit_shift;
  logic [PARTS*SHIFT_W-1:0] shifts;
  logic [PARTS-1:0] negative;
  logic signs, saturate;
  logic [1:0] coding;
  // whose bits come: `place` of the code, `base` is digit x digit_shift
  logic [DIGIT_W-1:0] digit;
  logic [PART_W-1:0] part;
  logic [TURN_W-1:0] turn;
  logic [PLACE_W-1:0] place;
  logic [BASE_W-1:0] base;
  logic taken, whole, turns_end, parts_end, ends;
  // what the codes that are whole count
  logic adds, adds_first, adds_negative, adds_last;
  logic [TURN_W-1:0] adds_turn, sent;
  logic [BASE_W:0] amount, amount_n;
  logic [CODE_W-1:0] code[ADCS], code_n[ADCS];
  logic [ADCS*SUM_W-1:0] sums[TURNS], sum, sum_n;
  logic over;

  function automatic logic signed [CODE_W:0] number(input logic [CODE_W-1:0] x);
    case (coding)
      OFFSET:  number = (CODE_W + 1)'($signed(x ^ CODE_W'(1 << (CODE_W - 1))));
      SIGNED:  number = (CODE_W + 1)'($signed(x));
      default: number = $signed({1'b0, x});
    endcase
    if (adds_negative) number = -number;
  endfunction

  // A shift by SUM_W or more leaves the sum's bits as a shift by SUM_W does.
  function automatic void add();
    logic signed [WIDE-1:0] total;
    over = 1'b0;
    for (int unsigned a = 0; a < ADCS; a++) begin
      total = WIDE'(number(code[a])) <<< amount;
      if (!adds_first) total = total + WIDE'($signed(sum[SUM_W*a+:SUM_W]));
      if (total > TOP || total < -TOP - 1) begin
        over = 1'b1;
        if (saturate) total = total < 0 ? -TOP - 1 : TOP;
      end
      sum_n[SUM_W*a+:SUM_W] = SUM_W'(total);
    end
  endfunction

  function automatic void shift_in();
    for (int unsigned a = 0; a < ADCS; a++) code_n[a] = CODE_W'({code[a], bits_i[a]});
  endfunction

  always_comb add();
  always_comb shift_in();
  assign sum = sums[adds_turn];
  assign sums_o = sums[sent];

  always_comb begin
    ready_o = phase == IDLE;
    bits_ready_o = phase == CONVERT && !adds_last;
    sums_valid_o = phase == SEND;
    taken = bits_valid_i && bits_ready_o;
    whole = taken && place == PLACE_W'(CODE_W - 1);
    turns_end = turn == TURN_W'(TURNS - 1);
    parts_end = part == parts - 1'b1;
    ends = turns_end && parts_end && digit == digits - 1'b1;
    amount_n = (BASE_W + 1)'(base) + (BASE_W + 1)'(shifts[SHIFT_W*part+:SHIFT_W]);
    if (32'(amount_n) > SUM_W) amount_n = (BASE_W + 1)'(SUM_W);
  end

  always_ff @(posedge clk_i) begin
    if (ready_o && start_i) begin
      digits <= digits_i;
      parts <= parts_i;
      digit_shift <= digit_shift_i;
      shifts <= shifts_i;
      negative <= negative_i;
      signs <= signed_i;
      saturate <= saturate_i;
      coding <= format_i;
    end
    if (taken) code <= code_n;
    adds_turn <= turn;
    adds_first <= digit == 0 && part == 0;
    adds_negative <= 1'(negative >> part) ^ (signs && digit == digits - 1'b1);
    amount <= amount_n;
    if (adds) sums[adds_turn] <= sum_n;
  end

  always_ff @(posedge clk_i)
    if (reset_i) begin
      phase <= IDLE;
      adds <= 1'b0;
      adds_last <= 1'b0;
      overflow_o <= 1'b0;
    end else begin
      adds <= whole;
      adds_last <= whole && ends;
      if (adds && over) overflow_o <= 1'b1;
      if (adds_last) phase <= SEND;
      if (taken) place <= whole ? '0 : place + 1'b1;
      if (whole) begin
        turn <= turns_end ? '0 : turn + 1'b1;
        if (turns_end) begin
          part <= parts_end ? '0 : part + 1'b1;
          if (parts_end) begin
            digit <= digit + 1'b1;
            base <= base + BASE_W'(digit_shift);
          end
        end
      end
      if (sums_valid_o && sums_ready_i) begin
        sent <= sent + 1'b1;
        if (sent == TURN_W'(TURNS - 1)) phase <= IDLE;
      end
      if (ready_o && start_i) begin
        phase <= CONVERT;
        {digit, part, turn, place, base, sent} <= '0;
        overflow_o <= 1'b0;
      end
    end
endmodule
`default_nettype wire
