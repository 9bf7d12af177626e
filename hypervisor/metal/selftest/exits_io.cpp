// Port I/O and MSR accesses with and without their bitmaps.
// SDM vol. 3C, "I/O-Bitmap Addresses", "MSR-Bitmap Address", "Exit Qualification for I/O
// Instructions".
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(io_out8, "mov $0x80, %dx", "out %al, %dx", "");
CUPEL_GUEST(io_out8_immediate, "", "out %al, $0x80", "");
CUPEL_GUEST(io_out16, "mov $0x8080, %edx", "out %ax, %dx", "");
CUPEL_GUEST(io_out32, "mov $0x8080, %edx", "out %eax, %dx", "");
CUPEL_GUEST(io_in8, "mov $0x71, %edx", "in %dx, %al", "");
CUPEL_GUEST(io_in8_immediate, "", "in $0x71, %al", "");
CUPEL_GUEST(io_in32, "mov $0xcf8, %edx", "in %dx, %eax", "");
CUPEL_GUEST(io_outsb, "mov $0x80, %edx\n lea metal_guest_scratch, %rsi", "outsb", "");
CUPEL_GUEST(io_rep_outsw, "mov $0x80, %edx\n lea metal_guest_scratch, %rsi\n mov $3, %ecx",
            "rep outsw", "");
CUPEL_GUEST(io_insd, "mov $0x80, %edx\n lea metal_guest_scratch, %rdi", "insl", "");
CUPEL_GUEST(io_rep_insb, "mov $0x80, %edx\n lea metal_guest_scratch, %rdi\n mov $5, %ecx",
            "rep insb", "");
CUPEL_GUEST(io_outsb_fs, "mov $0x80, %edx\n xor %esi, %esi", "outsb %fs:(%rsi), %dx", "");
CUPEL_GUEST(io_outsb_a32, "mov $0x80, %edx\n lea metal_guest_scratch, %rsi", "outsb (%esi), %dx",
            "");

constexpr Controls kAll{.primary = proc::unconditional_io};
constexpr uint64_t io(uint16_t port, uint8_t size, bool in, bool string = false, bool rep = false,
                      bool immediate = false) {
  return IoAccess{port, size, in, string, rep, immediate}.encode();
}

void usable_fs(TestVm& vm) {
  vm.set(Field32::guest_fs_access_rights, 0xc093u);
  vm.set(Field32::guest_fs_limit, 0xffffffffu);
}
bool has_ins_outs_info(Lab& lab) { return (lab.caps.basic >> 54 & 1) != 0; }

constexpr uint32_t kStringOut = 7u << 7 | 7u << 15, kStringIn = 7u << 7;
constexpr ExitRow kIo[] = {
    {"out_8", io_out8, kAll, ExitReason::io_instruction, io(0x80, 1, false)},
    {"out_8_immediate", io_out8_immediate, kAll, ExitReason::io_instruction,
     io(0x80, 1, false, false, false, true)},
    {"out_16", io_out16, kAll, ExitReason::io_instruction, io(0x8080, 2, false)},
    {"out_32", io_out32, kAll, ExitReason::io_instruction, io(0x8080, 4, false)},
    {"in_8", io_in8, kAll, ExitReason::io_instruction, io(0x71, 1, true)},
    {"in_8_immediate", io_in8_immediate, kAll, ExitReason::io_instruction,
     io(0x71, 1, true, false, false, true)},
    {"in_32", io_in32, kAll, ExitReason::io_instruction, io(0xcf8, 4, true)},
    {"outs_8", io_outsb, kAll, ExitReason::io_instruction, io(0x80, 1, false, true), kStringOut,
     info::address64 | info::segment(Seg::ds), nullptr, has_ins_outs_info},
    {"rep_outs_16", io_rep_outsw, kAll, ExitReason::io_instruction, io(0x80, 2, false, true, true),
     kStringOut, info::address64 | info::segment(Seg::ds), nullptr, has_ins_outs_info},
    {"ins_32", io_insd, kAll, ExitReason::io_instruction, io(0x80, 4, true, true), kStringIn,
     info::address64, nullptr, has_ins_outs_info},
    {"rep_ins_8", io_rep_insb, kAll, ExitReason::io_instruction, io(0x80, 1, true, true, true),
     kStringIn, info::address64, nullptr, has_ins_outs_info},
    {"outs_8_fs", io_outsb_fs, kAll, ExitReason::io_instruction, io(0x80, 1, false, true),
     kStringOut, info::address64 | info::segment(Seg::fs), usable_fs, has_ins_outs_info},
    {"outs_8_address_32", io_outsb_a32, kAll, ExitReason::io_instruction, io(0x80, 1, false, true),
     kStringOut, info::address32 | info::segment(Seg::ds), nullptr, has_ins_outs_info},
};

// One access under I/O bitmaps with a single bit set: does it exit?
struct BitmapRow {
  const char* name;
  GuestCode code;
  uint16_t port;  // whose bit is set
  bool exits;
};
CUPEL_GUEST(io_word_80, "mov $0x80, %edx", "in %dx, %ax", "");
CUPEL_GUEST(io_dword_80, "mov $0x80, %edx", "in %dx, %eax", "");
CUPEL_GUEST(io_high, "mov $0xfffd, %edx", "in %dx, %al", "");
CUPEL_GUEST(io_wrap, "mov $0xffff, %edx", "in %dx, %ax", "");
constexpr BitmapRow kBitmap[] = {
    {"clear", io_out8, 0x81, false},
    {"set", io_out8, 0x80, true},
    {"word_first", io_word_80, 0x80, true},
    {"word_second", io_word_80, 0x81, true},
    {"word_behind", io_word_80, 0x82, false},
    {"dword_last", io_dword_80, 0x83, true},
    {"dword_behind", io_dword_80, 0x84, false},
    {"high_clear", io_high, 0x7ffd, false},
    {"high_set", io_high, 0xfffd, true},
};

void set_bit(Hpa page, unsigned bit) {
  auto* bytes = reinterpret_cast<uint8_t*>(page.value());
  bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] | 1u << bit % 8);
}

struct Bitmaps {
  Hpa a, b;
};
Bitmaps io_bitmaps(Lab& lab, TestVm& vm) {
  const Bitmaps made{lab.frame(), lab.frame()};
  vm.set(Field64::io_bitmap_a, made.a.value());
  vm.set(Field64::io_bitmap_b, made.b.value());
  return made;
}
void release(Lab& lab, const Bitmaps& bitmaps) {
  lab.frames.release(bitmaps.a);
  lab.frames.release(bitmaps.b);
}

void io_bitmap_tests(Tap& tap, Lab& lab) {
  for (const BitmapRow& row : kBitmap) {
    tap.test("exit.io_bitmap", row.name, [&](Report& report) {
      TestVm vm(lab, {.primary = proc::io_bitmaps});
      if (!vm.ready(report)) return;
      const Bitmaps bitmaps = io_bitmaps(lab, vm);
      set_bit(row.port < 0x8000 ? bitmaps.a : bitmaps.b, row.port & 0x7fff);
      vm.run(report, row.code.code, row.exits ? ExitReason::io_instruction : ExitReason::vmcall);
      release(lab, bitmaps);
    });
  }
  tap.test("exit.io_bitmap", "wrap_exits", [&](Report& report) {
    // "If an I/O operation wraps around the 16-bit I/O-port space, it causes a VM exit."
    TestVm vm(lab, {.primary = proc::io_bitmaps});
    if (!vm.ready(report)) return;
    const Bitmaps bitmaps = io_bitmaps(lab, vm);
    vm.run(report, io_wrap.code, ExitReason::io_instruction);
    release(lab, bitmaps);
  });
  tap.test("exit.io_bitmap", "overrides_unconditional", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::io_bitmaps | proc::unconditional_io});
    if (!vm.ready(report)) return;
    const Bitmaps bitmaps = io_bitmaps(lab, vm);
    vm.run(report, io_out8.code, ExitReason::vmcall);
    release(lab, bitmaps);
  });
}

CUPEL_GUEST(msr_read_low, "mov $0x277, %ecx", "rdmsr", "");
CUPEL_GUEST(msr_read_high, "mov $0xc0000082, %ecx", "rdmsr", "");
CUPEL_GUEST(msr_read_outside, "mov $0x40000000, %ecx", "rdmsr", "");
CUPEL_GUEST(msr_write_low, "mov $0x174, %ecx\n xor %eax, %eax\n xor %edx, %edx", "wrmsr", "");
CUPEL_GUEST(msr_write_high, "mov $0xc0000082, %ecx\n xor %eax, %eax\n xor %edx, %edx", "wrmsr", "");
CUPEL_GUEST(msr_write_outside, "mov $0x2000, %ecx\n xor %eax, %eax\n xor %edx, %edx", "wrmsr", "");

constexpr ExitRow kMsr[] = {
    {"rdmsr", msr_read_low, {}, ExitReason::rdmsr},
    {"rdmsr_high", msr_read_high, {}, ExitReason::rdmsr},
    {"wrmsr", msr_write_low, {}, ExitReason::wrmsr},
    {"wrmsr_high", msr_write_high, {}, ExitReason::wrmsr},
};

struct MsrBitmapRow {
  const char* name;
  GuestCode code;
  int bit;  // set in the page; -1: none
  ExitReason reason;
};
constexpr int kReadLow = 0, kReadHigh = 1024 * 8, kWriteLow = 2048 * 8, kWriteHigh = 3072 * 8;
constexpr MsrBitmapRow kMsrBitmap[] = {
    {"rdmsr_clear", msr_read_low, -1, ExitReason::vmcall},
    {"rdmsr_set", msr_read_low, kReadLow + 0x277, ExitReason::rdmsr},
    {"rdmsr_write_bit", msr_read_low, kWriteLow + 0x277, ExitReason::vmcall},
    {"rdmsr_high_clear", msr_read_high, kReadLow + 0x82, ExitReason::vmcall},
    {"rdmsr_high_set", msr_read_high, kReadHigh + 0x82, ExitReason::rdmsr},
    {"rdmsr_outside", msr_read_outside, -1, ExitReason::rdmsr},
    {"wrmsr_clear", msr_write_low, -1, ExitReason::vmcall},
    {"wrmsr_set", msr_write_low, kWriteLow + 0x174, ExitReason::wrmsr},
    {"wrmsr_read_bit", msr_write_low, kReadLow + 0x174, ExitReason::vmcall},
    {"wrmsr_high_set", msr_write_high, kWriteHigh + 0x82, ExitReason::wrmsr},
    {"wrmsr_outside", msr_write_outside, -1, ExitReason::wrmsr},
};

void msr_bitmap_tests(Tap& tap, Lab& lab) {
  for (const MsrBitmapRow& row : kMsrBitmap) {
    tap.test("exit.msr_bitmap", row.name, [&](Report& report) {
      TestVm vm(lab, {.primary = proc::msr_bitmaps});
      if (!vm.ready(report)) return;
      const Hpa bitmap = lab.frame();
      vm.set(Field64::msr_bitmap, bitmap.value());
      if (row.bit >= 0) set_bit(bitmap, static_cast<unsigned>(row.bit));
      vm.run(report, row.code.code, row.reason);
      lab.frames.release(bitmap);
    });
  }
}

}  // namespace

void test_exits_io(Tap& tap, Lab& lab) {
  test_rows(tap, lab, "exit.io", kIo);
  io_bitmap_tests(tap, lab);
  test_rows(tap, lab, "exit.msr", kMsr);
  msr_bitmap_tests(tap, lab);
}

}  // namespace cupel::metal
