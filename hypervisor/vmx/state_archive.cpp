#include "hypervisor/vmx/state_archive.h"

namespace cupel::vmx {
namespace {

using x86::CpuState;

// One list of scalars serves both directions.
constexpr uint64_t CpuState::*kWords[] = {&CpuState::rip,          &CpuState::rflags,
                                          &CpuState::cr0,          &CpuState::cr2,
                                          &CpuState::cr3,          &CpuState::cr4,
                                          &CpuState::cr8,          &CpuState::efer,
                                          &CpuState::xcr0,         &CpuState::star,
                                          &CpuState::lstar,        &CpuState::cstar,
                                          &CpuState::fmask,        &CpuState::kernel_gs_base,
                                          &CpuState::tsc_aux,      &CpuState::sysenter_cs,
                                          &CpuState::sysenter_esp, &CpuState::sysenter_eip,
                                          &CpuState::pat,          &CpuState::debugctl,
                                          &CpuState::tsc_offset};
constexpr bool CpuState::*kFlags[] = {&CpuState::blocking_sti, &CpuState::blocking_mov_ss,
                                      &CpuState::blocking_nmi};

bool get_bool(ArchiveReader& in) { return in.get<uint8_t>() != 0; }

}  // namespace

void put(ArchiveWriter& out, const CpuState& state) {
  out.put(state.gpr.r);
  for (const auto word : kWords) out.put(state.*word);
  for (const auto flag : kFlags) out.put<uint8_t>(state.*flag ? 1 : 0);
  for (const x86::Segment& s : state.seg) {
    out.put(s.selector);
    out.put(s.access);
    out.put(s.limit);
    out.put(s.base);
  }
  for (const x86::DescriptorTable* t : {&state.gdtr, &state.idtr}) {
    out.put(t->base);
    out.put(t->limit);
  }
  out.put(state.dr);
  out.put(state.activity);
  out.put(state.fxsave);
}

CpuState get_cpu_state(ArchiveReader& in) {
  CpuState state;
  in.get(state.gpr.r);
  for (const auto word : kWords) in.get(state.*word);
  for (const auto flag : kFlags) state.*flag = get_bool(in);
  for (x86::Segment& s : state.seg) {
    in.get(s.selector);
    in.get(s.access);
    in.get(s.limit);
    in.get(s.base);
  }
  for (x86::DescriptorTable* t : {&state.gdtr, &state.idtr}) {
    in.get(t->base);
    in.get(t->limit);
  }
  in.get(state.dr);
  in.get(state.activity);
  in.get(state.fxsave);
  return state;
}

void put(ArchiveWriter& out, const Event& event) {
  out.put<uint8_t>(event.valid ? 1 : 0);
  out.put(event.vector);
  out.put(event.type);
  out.put<uint8_t>(event.has_error ? 1 : 0);
  out.put(event.error);
  out.put(event.instruction_length);
}

Event get_event(ArchiveReader& in) {
  Event event;
  event.valid = get_bool(in);
  in.get(event.vector);
  in.get(event.type);
  event.has_error = get_bool(in);
  in.get(event.error);
  in.get(event.instruction_length);
  return event;
}

}  // namespace cupel::vmx
