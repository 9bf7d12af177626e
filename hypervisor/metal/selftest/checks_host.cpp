// Checks on the host-state area: VMfailValid(8).
// SDM vol. 3C, "Checks on Host-State Area".
#include "hypervisor/metal/selftest/check_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;
using V = TestVm&;

constexpr Controls kPat{.exit = exitctl::load_pat}, kEfer{.exit = exitctl::load_efer};

bool has_cr4_reserved(Lab& lab) { return lab.caps.cr4_fixed1 != ~0ull; }
void set_reserved_cr4(V vm) {
  const uint64_t may_not = ~vm.lab().caps.cr4_fixed1;
  vm.set(FieldN::host_cr4, vm.get(FieldN::host_cr4) | (may_not & (~may_not + 1)));
}

#define SELECTOR_ROWS(seg)                                                                        \
  {"host." #seg ".selector", {}, nullptr, set_bits<Field16::host_##seg##_selector, 1u>, nullptr}, \
  {                                                                                               \
    "host." #seg ".selector/ti", {}, nullptr, set_bits<Field16::host_##seg##_selector, 4u>,       \
        nullptr                                                                                   \
  }
#define BASE_ROW(name, field) \
  { "host." name ".canonical", {}, nullptr, set_not_canonical<field>, nullptr }
#define FREE_BASE_ROW(name, field) \
  { "host." name ".canonical", {}, nullptr, set_not_canonical<field>, set_highest_low<field> }

constexpr CheckRow kRows[] = {
    {"host.cr0.fixed",
     {},
     nullptr,
     clear_bits<FieldN::host_cr0, cr0::NE>,
     set_bits<FieldN::host_cr0, cr0::MP>},
    {"host.cr0.fixed/paging", {}, nullptr, clear_bits<FieldN::host_cr0, cr0::PG>, nullptr},
    {"host.cr4.fixed", {}, nullptr, clear_bits<FieldN::host_cr4, cr4::VMXE>, nullptr},
    {"host.cr4.fixed/reserved", {}, nullptr, set_reserved_cr4, nullptr, 0, has_cr4_reserved},
    {"host.cr3.width", {}, nullptr, set_beyond_width<FieldN::host_cr3>, nullptr},
    FREE_BASE_ROW("sysenter_esp", FieldN::host_sysenter_esp),
    FREE_BASE_ROW("sysenter_eip", FieldN::host_sysenter_eip),
    {"host.pat.types", kPat, nullptr, set_value<Field64::host_pat, 0x0007040600070402ull>,
     set_value<Field64::host_pat, 0x0007010500070406ull>},
    {"host.pat.types/last", kPat, nullptr, set_value<Field64::host_pat, 0x0807040600070406ull>,
     nullptr},
    {"host.efer.reserved", kEfer, nullptr, set_bits<Field64::host_efer, 2u>,
     set_bits<Field64::host_efer, efer::SCE>},
    {"host.efer.address_space_size", kEfer, nullptr,
     clear_bits<Field64::host_efer, efer::LME | efer::LMA>, nullptr},
    {"host.efer.address_space_size/lme", kEfer, nullptr, clear_bits<Field64::host_efer, efer::LME>,
     nullptr},
    SELECTOR_ROWS(es),
    SELECTOR_ROWS(cs),
    SELECTOR_ROWS(ss),
    SELECTOR_ROWS(ds),
    SELECTOR_ROWS(fs),
    SELECTOR_ROWS(gs),
    SELECTOR_ROWS(tr),
    {"host.cs.null", {}, nullptr, set_value<Field16::host_cs_selector, 0u>, nullptr},
    {"host.tr.null",
     {},
     nullptr,
     set_value<Field16::host_tr_selector, 0u>,
     [](V vm) {  // the others may be null with a 64-bit host
       vm.set(Field16::host_ds_selector, uint16_t{0});
       vm.set(Field16::host_es_selector, uint16_t{0});
     }},
    FREE_BASE_ROW("fs_base", FieldN::host_fs_base),
    FREE_BASE_ROW("gs_base", FieldN::host_gs_base),
    BASE_ROW("gdtr_base", FieldN::host_gdtr_base),
    BASE_ROW("idtr_base", FieldN::host_idtr_base),
    BASE_ROW("tr_base", FieldN::host_tr_base),
    {"host.address_space_size.inside_ia32e",
     {},
     nullptr,
     [](V vm) {  // a 32-bit host, while the processor is in IA-32e mode
       clear_bits<Field32::exit_controls, exitctl::host_address_space_size>(vm);
       clear_bits<Field32::entry_controls, entryctl::ia32e_mode_guest>(vm);
     },
     nullptr},
    {"host.address_space_size.guest",
     {},
     nullptr,
     clear_bits<Field32::exit_controls, exitctl::host_address_space_size>,
     nullptr},
    {"host.cr4.pae", {}, nullptr, clear_bits<FieldN::host_cr4, cr4::PAE>, nullptr},
    {"host.rip.canonical", {}, nullptr, set_not_canonical<FieldN::host_rip>, nullptr},
};

#undef SELECTOR_ROWS
#undef BASE_ROW
#undef FREE_BASE_ROW

}  // namespace

void test_checks_host(Tap& tap, Lab& lab) {
  test_check_rows(tap, lab, CheckStage::host, kRows);
  // The image itself runs with the selectors and the IDT that exits load.
  lab.off();
}

}  // namespace cupel::metal
