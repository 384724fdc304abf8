"""The C functions around a Verilated model: its clock, its memories, its waveforms."""

from __future__ import annotations

from collections.abc import Sequence

_TEXT = """\
#include "Vtop.h"
#include "Vtop___024root.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#if VM_TRACE
#include <sys/stat.h>
#include "verilated_vcd_c.h"
#endif
static int seed = 1;
struct Machine {
  VerilatedContext context;
  // of a design with random registers; before they are made
  bool seeded = (context.randReset(2), context.randSeed(seed), true);
  Vtop top{&context};
  long long cycle = 0;  // edges since the reset
#if VM_TRACE
  // Of the cycles first to last; cycle n begins with the edge at time 2 n.
  VerilatedVcdC vcd;
  std::string file;
  long long first = -1, last = -1, most_bytes = 0;
  void sample(int clock) {
    if (cycle < first || cycle > last || (cycle == first && clock)) return;
    if (!vcd.isOpen()) vcd.open(file.c_str());
    vcd.dump(static_cast<uint64_t>(2 * cycle + !clock));
    if (clock || (cycle % 64 && cycle != last)) return;
    vcd.flush();
    struct stat found;
    if (cycle == last || (!stat(file.c_str(), &found) && found.st_size > most_bytes)) {
      last = cycle;
      vcd.close();
    }
  }
#else
  void sample(int) {}
#endif
};
struct Memory { void* data; long long bytes; };
extern "C" {
void rtl_seed(int value) { seed = value; }
Machine* rtl_create() {
  auto* m = new Machine;
#if VM_TRACE
  m->context.traceEverOn(true);
  m->top.trace(&m->vcd, 99);
#endif
  return m;
}
void rtl_destroy(Machine* m) { m->top.final(); delete m; }
Memory rtl_memory(Machine* m, int index) {
  auto* r = m->top.rootp;
  switch (index) {
@MEMORIES@
  }
  return {nullptr, 0};
}
// The bytes behind the model's DRAM port; one model at a time has them.
static unsigned char* dram_data;
static unsigned long long dram_bytes;
void rtl_dram(unsigned char* data, long long bytes) {
  dram_data = data;
  dram_bytes = bytes;
}
unsigned char dram_read(unsigned long long at) { return at < dram_bytes ? dram_data[at] : 0; }
void dram_write(unsigned long long at, unsigned char value) {
  if (at < dram_bytes) dram_data[at] = value;
}
// Clock edges up to one that leaves `done_o`, or `most` of them; how many.
long long rtl_run(Machine* m, long long most) {
  long long cycle = 0;
  while (cycle < most) {
    m->top.clk_i = 1;
    m->top.eval();
    m->cycle++;
    m->sample(1);
    m->top.clk_i = 0;
    m->top.eval();
    m->sample(0);
    cycle++;
    if (m->top.done_o) break;
  }
  return cycle;
}
int rtl_done(Machine* m) { return m->top.done_o; }
// Record cycles first to last into a file, no more than about `most_bytes` of it.
void rtl_record(Machine* m, const char* file, long long first, long long last,
                long long most_bytes) {
#if VM_TRACE
  m->file = file;
  m->first = first;
  m->last = last;
  m->most_bytes = most_bytes;
  m->sample(0);
#endif
}
// The last cycle that is recorded.
long long rtl_recorded(Machine* m) {
#if VM_TRACE
  return m->last;
#else
  return -1;
#endif
}
void rtl_coverage(Machine* m, const char* file) {
#if VM_COVERAGE
  m->context.coveragep()->write(file);
#endif
}
void rtl_reset(Machine* m) {
  m->top.clk_i = 0;
  m->top.reset_i = 1;
  m->top.eval();
  m->top.clk_i = 1;
  m->top.eval();
  m->top.clk_i = 0;
  m->top.reset_i = 0;
  m->top.eval();
  m->cycle = 0;
}
}
"""


def source(top: str, memories: Sequence[str]) -> str:
    """The functions as C++.

    Args:
        top: the top module, which has clk_i, reset_i and done_o.
        memories: hierarchical names of arrays that carry `verilator public_flat_rw`.
    """
    cases: list[str] = []
    for number, name in enumerate(memories):
        member = f"r->{top}__DOT__" + name.replace(".", "__DOT__")
        cases.append(f"    case {number}: return {{&{member}, sizeof({member})}};")
    return _TEXT.replace("@MEMORIES@", "\n".join(cases))
