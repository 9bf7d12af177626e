// Checks on the guest's segment and descriptor-table registers: exit reason 33.
// SDM vol. 3C, "Checks on Guest Segment Registers", "Checks on Guest Descriptor-Table Registers".
#include "hypervisor/metal/selftest/check_rows.h"
#include "hypervisor/metal/selftest/guest_modes.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/vmx/segment_fields.h"

namespace cupel::metal {
namespace {

using namespace x86;
using V = TestVm&;

constexpr uint32_t kS = 1 << 4, kPresent = 1 << 7, kL = 1 << 13, kDb = 1 << 14, kG = 1 << 15,
                   kReserved8 = 1 << 8, kReserved17 = 1 << 17;

template <Seg seg>
void rights(V vm, uint32_t access) {
  vm.set(vmx::fields_of(seg).access, access);
}
template <Seg seg, auto access>
void set_rights(V vm) {
  rights<seg>(vm, access);
}
template <Seg seg, auto bits>
void add_rights(V vm) {
  rights<seg>(vm, vm.get(vmx::fields_of(seg).access) | bits);
}
template <Seg seg, auto bits>
void drop_rights(V vm) {
  rights<seg>(vm, vm.get(vmx::fields_of(seg).access) & ~bits);
}
template <Seg seg, auto value>
void set_limit(V vm) {
  vm.set(vmx::fields_of(seg).limit, static_cast<uint32_t>(value));
}
template <Seg seg, auto bits>
void add_selector(V vm) {
  const auto field = vmx::fields_of(seg).selector;
  vm.set(field, static_cast<uint16_t>(vm.get(field) | bits));
}
template <Seg seg, auto value>
void set_base(V vm) {
  vm.set(vmx::fields_of(seg).base, static_cast<uint64_t>(value));
}

// A usable register, where the 64-bit guest has FS, GS and LDTR unusable.
template <Seg seg>
void usable(V vm) {
  rights<seg>(vm, seg == Seg::ldtr ? 0x82u : 0xc093u);
  vm.set(vmx::fields_of(seg).limit, seg == Seg::ldtr ? 0xfffu : 0xffffffffu);
}
template <Seg seg>
constexpr Change base_of() {
  return seg == Seg::fs || seg == Seg::gs || seg == Seg::ldtr ? usable<seg> : nullptr;
}

// G = 0 with a limit beyond 20 bits; G = 1 with low bits of the limit clear.
template <Seg seg>
void large_limit_without_g(V vm) {
  drop_rights<seg, kG>(vm);
  vm.set(vmx::fields_of(seg).limit, 0x100000u);
}
template <Seg seg>
void ragged_limit_with_g(V vm) {
  add_rights<seg, kG>(vm);
  vm.set(vmx::fields_of(seg).limit, 0xfffff7ffu);
}
template <Seg seg>
void largest_without_g(V vm) {
  drop_rights<seg, kG>(vm);
  vm.set(vmx::fields_of(seg).limit, 0xfffffu);
}
template <Seg seg>
void smallest_with_g(V vm) {
  add_rights<seg, kG>(vm);
  vm.set(vmx::fields_of(seg).limit, 0xfffu);
}

#define COMMON_ROWS(seg)                                                                           \
  {"guest." #seg ".s", {}, base_of<Seg::seg>(), drop_rights<Seg::seg, kS>, nullptr},               \
      {"guest." #seg ".present",                                                                   \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       drop_rights<Seg::seg, kPresent>,                                                            \
       nullptr},                                                                                   \
      {"guest." #seg ".reserved",                                                                  \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       add_rights<Seg::seg, kReserved8>,                                                           \
       add_rights<Seg::seg, 1 << 12>},                                                             \
      {"guest." #seg ".granularity",                                                               \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       large_limit_without_g<Seg::seg>,                                                            \
       largest_without_g<Seg::seg>},                                                               \
  {                                                                                                \
    "guest." #seg ".granularity/low_bits", {}, base_of<Seg::seg>(), ragged_limit_with_g<Seg::seg>, \
        smallest_with_g<Seg::seg>                                                                  \
  }

// The same for the system segments, whose S is 0.
#define SYSTEM_ROWS(seg)                                                                           \
  {"guest." #seg ".s", {}, base_of<Seg::seg>(), add_rights<Seg::seg, kS>, nullptr},                \
      {"guest." #seg ".present",                                                                   \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       drop_rights<Seg::seg, kPresent>,                                                            \
       nullptr},                                                                                   \
      {"guest." #seg ".reserved",                                                                  \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       add_rights<Seg::seg, kReserved8>,                                                           \
       nullptr},                                                                                   \
      {"guest." #seg ".reserved/bit_17",                                                           \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       add_rights<Seg::seg, kReserved17>,                                                          \
       nullptr},                                                                                   \
      {"guest." #seg ".granularity",                                                               \
       {},                                                                                         \
       base_of<Seg::seg>(),                                                                        \
       large_limit_without_g<Seg::seg>,                                                            \
       largest_without_g<Seg::seg>},                                                               \
  {                                                                                                \
    "guest." #seg ".granularity/low_bits", {}, base_of<Seg::seg>(), ragged_limit_with_g<Seg::seg>, \
        smallest_with_g<Seg::seg>                                                                  \
  }

#define DATA_ROWS(seg)                     \
  {"guest." #seg ".type",                  \
   {},                                     \
   base_of<Seg::seg>(),                    \
   set_rights<Seg::seg, 0xc092u>,          \
   set_rights<Seg::seg, 0xc091u>},         \
      {"guest." #seg ".type/execute_only", \
       {},                                 \
       base_of<Seg::seg>(),                \
       set_rights<Seg::seg, 0xc099u>,      \
       set_rights<Seg::seg, 0xc09bu>},     \
      {"guest." #seg ".dpl",               \
       {},                                 \
       base_of<Seg::seg>(),                \
       add_selector<Seg::seg, 3>,          \
       [](V vm) {                          \
         add_selector<Seg::seg, 3>(vm);    \
         rights<Seg::seg>(vm, 0xc0f3);     \
       }},                                 \
      {"guest." #seg ".dpl/conforming",    \
       {},                                 \
       base_of<Seg::seg>(),                \
       [](V vm) {                          \
         add_selector<Seg::seg, 3>(vm);    \
         rights<Seg::seg>(vm, 0xc09b);     \
       },                                  \
       [](V vm) {                          \
         add_selector<Seg::seg, 3>(vm);    \
         rights<Seg::seg>(vm, 0xc09f);     \
       }},                                 \
      COMMON_ROWS(seg)

#define V86_ROWS(seg)                                                                             \
  {"guest." #seg ".v86_base", {}, guest_virtual_8086, set_base<Seg::seg, 0x1010>, nullptr},       \
      {"guest." #seg ".v86_limit", {}, guest_virtual_8086, set_limit<Seg::seg, 0xfffe>, nullptr}, \
  {                                                                                               \
    "guest." #seg ".v86_rights", {}, guest_virtual_8086, set_rights<Seg::seg, 0x93u>, nullptr     \
  }

constexpr CheckRow kSelectorsAndBases[] = {
    {"guest.tr.selector_ti", {}, nullptr, add_selector<Seg::tr, 4>, add_selector<Seg::tr, 3>},
    {"guest.ldtr.selector_ti", {}, usable<Seg::ldtr>, add_selector<Seg::ldtr, 4>, nullptr},
    {"guest.ldtr.selector_ti/unusable", {}, add_selector<Seg::ldtr, 4>, usable<Seg::ldtr>, nullptr},
    {"guest.ss.selector_rpl",
     {},
     nullptr,
     [](V vm) {  // SS.RPL = SS.DPL = CS.DPL = 3, CS.RPL = 0
       add_selector<Seg::ss, 3>(vm);
       rights<Seg::ss>(vm, 0xc0f3);
       rights<Seg::cs>(vm, 0xa0fb);
     },
     guest_cpl3},
    V86_ROWS(cs),
    V86_ROWS(ss),
    V86_ROWS(ds),
    V86_ROWS(es),
    V86_ROWS(fs),
    V86_ROWS(gs),
    {"guest.tr.base",
     {},
     nullptr,
     set_base<Seg::tr, kNotCanonical>,
     set_base<Seg::tr, kLowestHigh>},
    {"guest.fs.base",
     {},
     nullptr,
     set_base<Seg::fs, kNotCanonical>,
     set_base<Seg::fs, kHighestLow>},
    {"guest.gs.base",
     {},
     nullptr,
     set_base<Seg::gs, kNotCanonical>,
     set_base<Seg::gs, kLowestHigh>},
    {"guest.ldtr.base",
     {},
     usable<Seg::ldtr>,
     set_base<Seg::ldtr, kNotCanonical>,
     set_base<Seg::ldtr, kLowestHigh>},
    {"guest.ldtr.base/unusable",
     {},
     set_base<Seg::ldtr, kNotCanonical>,
     usable<Seg::ldtr>,
     nullptr},
    {"guest.cs.base", {}, nullptr, set_base<Seg::cs, 1ull << 32>, set_base<Seg::cs, 0xffffffffu>},
    {"guest.ss.base", {}, nullptr, set_base<Seg::ss, 1ull << 32>, set_base<Seg::ss, 0xffffffffu>},
    {"guest.ds.base", {}, nullptr, set_base<Seg::ds, 1ull << 32>, set_base<Seg::ds, 0xffffffffu>},
    {"guest.es.base", {}, nullptr, set_base<Seg::es, 1ull << 32>, set_base<Seg::es, 0xffffffffu>},
    {"guest.es.base/unusable",
     {},
     set_base<Seg::es, 1ull << 32>,
     [](V) {},
     set_rights<Seg::es, Segment::kUnusable>},
};

constexpr CheckRow kCodeAndStack[] = {
    {"guest.cs.type", {}, nullptr, set_rights<Seg::cs, 0xa09au>, set_rights<Seg::cs, 0xa09fu>},
    {"guest.cs.type/data", {}, nullptr, set_rights<Seg::cs, 0xa093u>, set_rights<Seg::cs, 0xa099u>},
    {"guest.cs.dpl", {}, nullptr, set_rights<Seg::cs, 0xa0fbu>, nullptr},
    {"guest.cs.dpl/conforming",
     {},
     nullptr,
     set_rights<Seg::cs, 0xa0ffu>,
     [](V vm) {
       guest_cpl3(vm);
       rights<Seg::cs>(vm, 0xa09f);
     }},
    {"guest.cs.d",
     {},
     nullptr,
     add_rights<Seg::cs, kDb>,
     [](V vm) {  // a compatibility-mode segment
       rights<Seg::cs>(vm, 0xc09b);
     }},
    COMMON_ROWS(cs),
    {"guest.cs.reserved/bit_17", {}, nullptr, add_rights<Seg::cs, kReserved17>, nullptr},
    {"guest.ss.type", {}, nullptr, set_rights<Seg::ss, 0xc091u>, set_rights<Seg::ss, 0xc097u>},
    {"guest.ss.type/unusable",
     {},
     set_rights<Seg::ss, 0xc091u>,
     [](V) {},
     set_rights<Seg::ss, Segment::kUnusable>},
    {"guest.ss.dpl",
     {},
     nullptr,
     [](V vm) {  // SS.DPL = CS.DPL = 3, both RPLs 0
       rights<Seg::ss>(vm, 0xc0f3);
       rights<Seg::cs>(vm, 0xa0fb);
     },
     guest_cpl3},
    COMMON_ROWS(ss),
};

constexpr CheckRow kData[] = {DATA_ROWS(ds), DATA_ROWS(es), DATA_ROWS(fs), DATA_ROWS(gs)};

constexpr CheckRow kSystem[] = {
    {"guest.tr.type", {}, nullptr, set_rights<Seg::tr, 0x89u>, nullptr},
    {"guest.tr.type/16_bit", {}, set_rights<Seg::tr, 0x83u>, [](V) {}, guest_32bit},
    {"guest.tr.usable", {}, nullptr, add_rights<Seg::tr, Segment::kUnusable>, nullptr},
    SYSTEM_ROWS(tr),
    {"guest.ldtr.type", {}, usable<Seg::ldtr>, set_rights<Seg::ldtr, 0x83u>, nullptr},
    SYSTEM_ROWS(ldtr),
    {"guest.gdtr.base",
     {},
     nullptr,
     set_not_canonical<FieldN::guest_gdtr_base>,
     set_highest_low<FieldN::guest_gdtr_base>},
    {"guest.gdtr.limit",
     {},
     nullptr,
     set_value<Field32::guest_gdtr_limit, 0x10000u>,
     set_value<Field32::guest_gdtr_limit, 0xffffu>},
    {"guest.idtr.base",
     {},
     nullptr,
     set_not_canonical<FieldN::guest_idtr_base>,
     set_lowest_high<FieldN::guest_idtr_base>},
    {"guest.idtr.limit",
     {},
     nullptr,
     set_value<Field32::guest_idtr_limit, 0x80000000u>,
     set_value<Field32::guest_idtr_limit, 0u>},
};

// With "unrestricted guest" some rows are weaker and some take over.
constexpr Controls kUnrestricted{.secondary = proc2::enable_ept | proc2::unrestricted_guest};
constexpr CheckRow kUnrestrictedRows[] = {
    {"guest.cs.type/unrestricted", kUnrestricted, guest_real_mode, set_rights<Seg::cs, 0x92u>,
     set_rights<Seg::cs, 0x93u>},
    {"guest.cs.dpl/unrestricted_data", kUnrestricted, guest_real_mode, set_rights<Seg::cs, 0xf3u>,
     set_rights<Seg::cs, 0x93u>},
    {"guest.ss.dpl/unrestricted_real_mode", kUnrestricted, guest_real_mode,
     [](V vm) {
       rights<Seg::ss>(vm, 0xf3);
       rights<Seg::cs>(vm, 0xfb);
     },
     nullptr},
    {"guest.ss.selector_rpl/unrestricted", kUnrestricted, nullptr, set_rights<Seg::ss, 0xc091u>,
     add_selector<Seg::ss, 3>},
    {"guest.ds.dpl/unrestricted", kUnrestricted, nullptr, drop_rights<Seg::ds, kPresent>,
     add_selector<Seg::ds, 3>},
};

#undef COMMON_ROWS
#undef SYSTEM_ROWS
#undef DATA_ROWS
#undef V86_ROWS

}  // namespace

void test_checks_segments(Tap& tap, Lab& lab) {
  test_check_rows(tap, lab, CheckStage::guest, kSelectorsAndBases);
  test_check_rows(tap, lab, CheckStage::guest, kCodeAndStack);
  test_check_rows(tap, lab, CheckStage::guest, kData);
  test_check_rows(tap, lab, CheckStage::guest, kSystem);
  test_check_rows(tap, lab, CheckStage::guest, kUnrestrictedRows);
}

}  // namespace cupel::metal
