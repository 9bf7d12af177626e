#include "core/x86/registers.h"
#include "core/x86/vmx_controls.h"
#include "tests/vtx/good_state.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using Values = std::vector<std::pair<F, uint64_t>>;

Values controls(const CapabilityProfile& c) {
  const auto word = [](const ControlRange& r, uint32_t wanted) {
    return uint64_t{r.required | (wanted & r.allowed)};
  };
  uint32_t secondary =
      proc2::enable_ept | proc2::enable_vpid | proc2::unrestricted_guest | proc2::enable_rdtscp;
  if (!c.proc2.offers(proc2::enable_ept)) secondary &= ~proc2::unrestricted_guest;
  return {
      {F::pin_based_controls, word(c.pin, pin::external_interrupt_exiting | pin::nmi_exiting)},
      {F::primary_processor_controls,
       word(c.proc,
            proc::hlt_exiting | proc::io_bitmaps | proc::msr_bitmaps | proc::secondary_controls)},
      {F::secondary_processor_controls, word(c.proc2, secondary)},
      {F::exit_controls,
       word(c.exit, exitctl::host_address_space_size | exitctl::save_debug_controls |
                        exitctl::save_efer | exitctl::load_efer | exitctl::save_pat |
                        exitctl::load_pat)},
      {F::entry_controls, word(c.entry, entryctl::ia32e_mode_guest | entryctl::load_efer |
                                            entryctl::load_pat | entryctl::load_debug_controls)},
      {F::io_bitmap_a, kIoA},
      {F::io_bitmap_b, kIoB},
      {F::msr_bitmap, kMsrBitmap},
      {F::vpid, 1},
      {F::ept_pointer, kPml4 | 3 << 3 | 6},
      {F::cr4_guest_host_mask, cr4::VMXE},
  };
}

constexpr std::pair<F, uint64_t> kHost[] = {
    {F::host_cr0, 0x80050033},
    {F::host_cr3, 0x8000},
    {F::host_cr4, cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::VMXE},
    {F::host_cs_selector, 8},
    {F::host_ss_selector, 16},
    {F::host_tr_selector, 24},
    {F::host_rip, 0xffffffff81000000ull},
    {F::host_efer, efer::LMA | efer::LME | efer::SCE | efer::NXE},
    {F::host_pat, 0x0007040600070406ull},
};

constexpr std::pair<F, uint64_t> kGuest[] = {
    {F::vmcs_link_pointer, ~0ull},
    {F::guest_cr0, 0x80010031},
    {F::guest_cr3, 0x9000},
    {F::guest_cr4, cr4::PAE | cr4::VMXE},
    {F::guest_efer, efer::LMA | efer::LME},
    {F::guest_pat, 0x0007040600070406ull},
    {F::guest_dr7, 0x400},
    {F::guest_rip, 0x100000},
    {F::guest_rsp, 0x8000},
    {F::guest_rflags, 2},
    {F::guest_gdtr_limit, 0xffff},
    {F::guest_idtr_limit, 0xffff},
    {F::guest_cs_selector, 8},
    {F::guest_cs_access_rights, 0xa09b},
    {F::guest_cs_limit, 0xffffffff},
    {F::guest_tr_access_rights, 0x8b},
    {F::guest_tr_limit, 0x67},
    {F::guest_ldtr_access_rights, Segment::kUnusable},
};

}  // namespace

Values good_state(const CapabilityProfile& profile) {
  Values all = controls(profile);
  all.insert(all.end(), std::begin(kHost), std::end(kHost));
  all.insert(all.end(), std::begin(kGuest), std::end(kGuest));
  for (unsigned n = 0; n < 6; ++n) {
    if (n == static_cast<unsigned>(Seg::cs)) continue;
    const auto at = [n](F first) { return static_cast<F>(static_cast<unsigned>(first) + n); };
    all.emplace_back(at(F::guest_es_access_rights), 0xc093);
    all.emplace_back(at(F::guest_es_limit), 0xffffffff);
  }
  std::erase_if(all, [&](const auto& v) { return !profile.has_field(encoding_of(v.first)); });
  return all;
}

void good_vmcs(LogicalProcessor& vmx, PhysicalMemory& memory, Hpa region) {
  memory.write(region, vmx.capabilities().revision);
  ASSERT_EQ(vmx.vmclear(region), VmxStatus::succeed);
  ASSERT_EQ(vmx.vmptrld(region), VmxStatus::succeed);
  for (const auto& [field, value] : good_state(vmx.capabilities()))
    ASSERT_EQ(vmx.vmwrite(encoding_of(field), value), VmxStatus::succeed) << name_of(field);
}

}  // namespace cupel::vtx::testing
