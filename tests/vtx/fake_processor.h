// A processor that executes nothing: registers as plain data, and a script in place of the guest.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "core/x86/msr.h"
#include "hw_models/cpu/processor.h"

namespace cupel::vtx::testing {

class FakeProcessor final : public cpu::Processor {
 public:
  explicit FakeProcessor(PhysicalMemory& memory) : memory_(memory) {
    profile_.name = "fake";
    profile_.physical_bits = 40;
    profile_.linear_bits = 48;
    auto& features = profile_.table.at(1);
    features.ecx = 1u << 5;              // VMX
    features.edx = 0x0780217f | 0xffff;  // the CR4 features of old, FXSR, SSE
    profile_.table.at(0).eax = 7;
    profile_.table.at(7).ebx = 1u | 1u << 7 | 1u << 20;  // FSGSBASE, SMEP, SMAP
    msrs_[x86::msr::PAT] = 0x0007040600070406ull;
    for (const uint32_t index : {x86::msr::SYSENTER_CS, x86::msr::SYSENTER_ESP,
                                 x86::msr::SYSENTER_EIP, x86::msr::DEBUGCTL, x86::msr::STAR})
      msrs_[index] = 0;
  }

  // What the guest does in one run(). Default: one CPUID.
  using Script = std::function<void(FakeProcessor&)>;
  Script script;
  cpu::Monitor* monitor = nullptr;

  bool trap(cpu::TrapKind kind) {
    cpu::Trap t;
    t.kind = kind;
    t.length = 2;
    return monitor->on_trap(t);
  }

  void set_monitor(cpu::Monitor* m) override { monitor = m; }
  void stay_in_loop() override {}
  void use_translations(const cpu::TranslationTag& t) override {
    if (!(t == tag)) ++flushes;
    tag = t;
  }
  void drop_translations_of_vpid(uint16_t vpid) override {
    if (tag.vpid == vpid) ++flushes;
  }
  void drop_translations_of_ept(uint64_t ept) override {
    if (tag.ept == ept) ++flushes;
  }
  void drop_all_translations() override { ++flushes; }
  void drop_page_of_vpid(uint16_t vpid, Gva linear) override {
    if (tag.vpid == vpid) flushed_pages.push_back(linear);
  }
  Nanoseconds now() const override { return Nanoseconds(static_cast<int64_t>(host_tsc())); }
  bool read_operand(uint64_t linear, void* data, unsigned size, x86::Seg) override {
    const std::byte* from = memory_.at(Hpa(linear), size);
    if (from != nullptr) std::memcpy(data, from, size);
    return from != nullptr;
  }
  bool write_operand(uint64_t linear, const void* data, unsigned size, x86::Seg) override {
    std::byte* to = memory_.at(Hpa(linear), size);
    if (to != nullptr) std::memcpy(to, data, size);
    return to != nullptr;
  }
  void complete(const cpu::Trap& t) override { state_.rip += t.length; }
  void store_bank(unsigned n) override { banks_[n] = state_; }
  void load_bank(unsigned n) override { state_ = banks_[n]; }
  void look_at_bank(unsigned n) override {
    looked_from_ = state_;
    state_ = banks_[n];
  }
  void look_back() override { state_ = looked_from_; }
  uint64_t bank_cr0(unsigned n) const override { return banks_[n].cr0; }
  uint64_t bank_efer(unsigned n) const override { return banks_[n].efer; }
  void set_status_flags(uint64_t) override {}
  void stop_after_instruction(bool on) override { stepping = on; }
  void stop_before_instruction() override { step_due = true; }
  cpu::ProcessorSnapshot snapshot() override {
    cpu::ProcessorSnapshot s;
    s.state = state_;
    return s;
  }
  void restore(const cpu::ProcessorSnapshot& s) override { state_ = s.state; }
  bool stepping = false, step_due = false;
  unsigned privilege_level() const override { return state_[x86::Seg::ss].dpl(); }
  bool code_is_64bit() const override { return true; }
  Park run() override {
    ++runs;
    if (injected) {
      delivered.push_back(*injected);
      injected.reset();
    }
    if (script) {
      script(*this);
    } else {
      trap(cpu::TrapKind::cpuid);
    }
    vectoring_event.reset();
    return Park::exit;
  }

  x86::GprFile& gpr() override { return state_.gpr; }
  uint64_t rip() const override { return state_.rip; }
  void set_rip(uint64_t v) override { state_.rip = v; }
  uint64_t rflags() override { return state_.rflags; }
  void set_rflags(uint64_t v) override { state_.rflags = v; }
  x86::Segment segment(x86::Seg s) const override {
    ++segment_reads;
    return state_[s];
  }
  void set_segment(x86::Seg s, const x86::Segment& v) override {
    ++segment_writes;
    state_[s] = v;
  }
  x86::DescriptorTable gdtr() const override { return state_.gdtr; }
  x86::DescriptorTable idtr() const override { return state_.idtr; }
  void set_gdtr(const x86::DescriptorTable& t) override { state_.gdtr = t; }
  void set_idtr(const x86::DescriptorTable& t) override { state_.idtr = t; }
  uint64_t cr(unsigned n) const override {
    switch (n) {
      case 0:
        return state_.cr0;
      case 2:
        return state_.cr2;
      case 3:
        return state_.cr3;
      case 4:
        return state_.cr4;
      default:
        return state_.cr8;
    }
  }
  void set_control_registers(uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer) override {
    ++control_register_loads;
    state_.cr0 = cr0;
    state_.cr3 = cr3;
    state_.cr4 = cr4;
    state_.efer = efer;
  }
  void set_cr2(uint64_t v) override { state_.cr2 = v; }
  void set_cr8(uint64_t v) override { state_.cr8 = v; }
  uint64_t efer() const override { return state_.efer; }
  uint64_t dr(unsigned n) const override { return state_.dr[n]; }
  void set_dr(unsigned n, uint64_t v) override { state_.dr[n] = v; }
  std::array<uint64_t, 4> pdptes() const override { return pdptes_; }
  void set_pdptes(const std::array<uint64_t, 4>& v) override { pdptes_ = v; }
  bool read_msr(uint32_t index, uint64_t& value) override {
    const auto at = msrs_.find(index);
    if (at == msrs_.end()) return false;
    value = at->second;
    return true;
  }
  bool write_msr(uint32_t index, uint64_t value) override {
    const auto at = msrs_.find(index);
    if (at == msrs_.end()) return false;
    at->second = value;
    return true;
  }
  void fxsave(uint8_t* area) override { std::copy_n(state_.fxsave.data(), 512, area); }
  void fxrstor(const uint8_t* area) override { std::copy_n(area, 512, state_.fxsave.data()); }
  uint32_t interruptibility() const override { return interruptibility_; }
  void set_interruptibility(uint32_t bits) override { interruptibility_ = bits; }
  uint64_t pending_debug() const override { return pending_debug_; }
  void set_pending_debug(uint64_t v) override { pending_debug_ = v; }
  x86::Activity activity() const override { return state_.activity; }
  void set_activity(x86::Activity a) override { state_.activity = a; }
  void inject(const cpu::Event& event) override { injected = event; }
  std::optional<cpu::Event> vectoring() const override { return vectoring_event; }
  void set_deadline(Nanoseconds when) override { deadline = when; }
  void request_boundary() override { boundary_requested = true; }
  void watch_windows(bool interrupts, bool nmis) override { watching = interrupts || nmis; }
  void flush_tlb() override { ++flushes; }
  void flush_tlb_page(Gva linear) override { flushed_pages.push_back(linear); }
  void invalidate_code(Hpa, uint64_t) override {}
  uint64_t host_tsc() const override { return tsc; }
  uint64_t tsc_hz() const override { return hz; }
  const cpu::CpuidProfile& profile() const override { return profile_; }
  const cpu::ProcessorStats& stats() const override { return stats_; }
  PhysicalMemory& memory() override { return memory_; }
  x86::CpuState state() override { return state_; }
  void set_state(const x86::CpuState& s) override { state_ = s; }

  x86::CpuState& raw() { return state_; }
  std::map<uint32_t, uint64_t>& msrs() { return msrs_; }

  std::optional<cpu::Event> injected, vectoring_event;
  std::vector<cpu::Event> delivered;
  std::vector<Gva> flushed_pages;
  cpu::TranslationTag tag;
  Nanoseconds deadline = Nanoseconds::max();
  bool boundary_requested = false, watching = false;
  uint64_t tsc = 1000, hz = 1'000'000'000;
  int runs = 0, flushes = 0, control_register_loads = 0, segment_writes = 0;
  mutable int segment_reads = 0;

 private:
  PhysicalMemory& memory_;
  cpu::CpuidProfile profile_;
  cpu::ProcessorStats stats_;
  x86::CpuState state_, looked_from_, banks_[kBanks];
  std::array<uint64_t, 4> pdptes_{};
  std::map<uint32_t, uint64_t> msrs_;
  uint32_t interruptibility_ = 0;
  uint64_t pending_debug_ = 0;
};

}  // namespace cupel::vtx::testing
