// The whole architectural state of one logical processor, as loaders set it and snapshots keep it.
#pragma once

#include <array>
#include <cstdint>

#include "core/x86/registers.h"

namespace cupel::x86 {

enum class Activity : uint8_t { active = 0, hlt = 1, shutdown = 2, wait_for_sipi = 3 };

struct CpuState {
  GprFile gpr;
  uint64_t rip = 0xfff0;
  uint64_t rflags = 2;
  std::array<Segment, kSegmentCount> seg{};
  DescriptorTable gdtr, idtr;
  uint64_t cr0 = 0x60000010, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  uint64_t efer = 0;
  std::array<uint64_t, 8> dr{0, 0, 0, 0, 0, 0, 0xffff0ff0, 0x400};
  uint64_t xcr0 = 1;
  uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t pat = 0x0007040600070406ull, debugctl = 0;
  uint64_t tsc_offset = 0;  // guest TSC = virtual TSC + offset
  bool blocking_sti = false, blocking_mov_ss = false, blocking_nmi = false;
  Activity activity = Activity::active;
  alignas(16) std::array<uint8_t, 512> fxsave = initial_fxsave();  // SDM vol. 1, "FXSAVE Area"

  Segment& operator[](Seg s) { return seg[static_cast<uint8_t>(s)]; }
  const Segment& operator[](Seg s) const { return seg[static_cast<uint8_t>(s)]; }

  static constexpr std::array<uint8_t, 512> initial_fxsave() {
    std::array<uint8_t, 512> area{};
    area[0] = 0x7f;  // FCW = 0x037f
    area[1] = 0x03;
    area[24] = 0x80;  // MXCSR = 0x1f80
    area[25] = 0x1f;
    return area;
  }

  // After power-up or RESET: real mode at F000:FFF0. SDM vol. 3A, "Processor State After Reset".
  static CpuState after_reset();
};

inline CpuState CpuState::after_reset() {
  CpuState s;
  for (auto& seg : s.seg) seg = Segment{0, 0x93, 0xffff, 0};
  s[Seg::cs] = Segment{0xf000, 0x9b, 0xffff, 0xffff0000};
  s[Seg::ldtr] = Segment{0, 0x82, 0xffff, 0};
  s[Seg::tr] = Segment{0, 0x8b, 0xffff, 0};
  s.gpr[Gpr::rdx] = 0x00000600;
  return s;
}

}  // namespace cupel::x86
