// Checks on the guest's segment registers and descriptor tables.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kSegments = "Checks on Guest Segment Registers";
constexpr const char* kTables = "Checks on Guest Descriptor-Table Registers";

constexpr F kEntry = F::entry_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls, kFlags = F::guest_rflags;

constexpr F nth(F first, Seg s) {
  return static_cast<F>(static_cast<unsigned>(first) + static_cast<unsigned>(s));
}
constexpr F selector_of(Seg s) { return nth(F::guest_es_selector, s); }
constexpr F limit_of(Seg s) { return nth(F::guest_es_limit, s); }
constexpr F rights_of(Seg s) { return nth(F::guest_es_access_rights, s); }
constexpr F base_of(Seg s) { return nth(F::guest_es_base, s); }

// Access rights taken apart. SDM vol. 3C, "Format of Access Rights".
struct Rights {
  uint64_t raw;
  unsigned type() const { return raw & 15; }
  bool s() const { return (raw >> 4 & 1) != 0; }
  unsigned dpl() const { return raw >> 5 & 3; }
  bool present() const { return (raw >> 7 & 1) != 0; }
  bool l() const { return (raw >> 13 & 1) != 0; }
  bool db() const { return (raw >> 14 & 1) != 0; }
  bool g() const { return (raw >> 15 & 1) != 0; }
  bool unusable() const { return (raw >> 16 & 1) != 0; }
  bool reserved_clear() const { return (raw & 0xfffe0f00) == 0; }
};

Rights rights(S s, Seg seg) { return {s[rights_of(seg)]}; }
bool virtual_8086(S s) { return (s[kFlags] & rflags::VM) != 0; }
unsigned rpl(S s, Seg seg) { return s[selector_of(seg)] & 3; }
// G must be 0 when a bit in 11:0 of the limit is 0, and 1 when a bit in 31:20 is 1.
bool granularity(S s, Seg seg) {
  const uint64_t limit = s[limit_of(seg)];
  const bool g = rights(s, seg).g();
  return ((limit & 0xfff) == 0xfff || !g) && (limit >> 20 == 0 || g);
}
// Attribute rows apply outside virtual-8086 mode to usable registers; CS is always in use.
bool exempt(S s, Seg seg) {
  return virtual_8086(s) || (seg != Seg::cs && rights(s, seg).unusable());
}
bool system_exempt(S s, Seg seg) { return seg == Seg::ldtr && rights(s, seg).unusable(); }

// --- Virtual-8086 mode -------------------------------------------------------------------------
template <Seg seg>
bool v86_base(S s) {
  return !virtual_8086(s) || s[base_of(seg)] == s[selector_of(seg)] << 4;
}
template <Seg seg>
bool v86_limit(S s) {
  return !virtual_8086(s) || s[limit_of(seg)] == 0xffff;
}
template <Seg seg>
bool v86_rights(S s) {
  return !virtual_8086(s) || s[rights_of(seg)] == 0xf3;
}

// --- Base addresses ----------------------------------------------------------------------------
template <Seg seg>
bool base_canonical(S s) {
  return (seg == Seg::ldtr && rights(s, seg).unusable()) || s.canonical(s[base_of(seg)]);
}
template <Seg seg>
bool base_32bit(S s) {
  return (seg != Seg::cs && rights(s, seg).unusable()) || s[base_of(seg)] >> 32 == 0;
}

// --- Attributes common to code, stack and data -------------------------------------------------
template <Seg seg>
bool code_or_data(S s) {
  return exempt(s, seg) || rights(s, seg).s();
}
template <Seg seg>
bool present(S s) {
  return exempt(s, seg) || rights(s, seg).present();
}
template <Seg seg>
bool reserved(S s) {
  return exempt(s, seg) || rights(s, seg).reserved_clear();
}
template <Seg seg>
bool limit_granularity(S s) {
  return exempt(s, seg) || granularity(s, seg);
}

// --- CS ----------------------------------------------------------------------------------------
bool cs_type(S s) {
  if (virtual_8086(s)) return true;
  const unsigned type = rights(s, Seg::cs).type();
  return type == 9 || type == 11 || type == 13 || type == 15 || (type == 3 && s.unrestricted());
}
bool cs_dpl(S s) {
  if (virtual_8086(s)) return true;
  const Rights cs = rights(s, Seg::cs);
  const unsigned ss_dpl = rights(s, Seg::ss).dpl();
  switch (cs.type()) {
    case 3:
      return cs.dpl() == 0;
    case 9:
    case 11:
      return cs.dpl() == ss_dpl;
    case 13:
    case 15:
      return cs.dpl() <= ss_dpl;
    default:
      return true;  // guest.cs.type fails
  }
}
bool cs_d(S s) {
  const Rights cs = rights(s, Seg::cs);
  return virtual_8086(s) || !(s.ia32e_guest() && cs.l() && cs.db());
}

// --- SS ----------------------------------------------------------------------------------------
bool ss_type(S s) {
  const unsigned type = rights(s, Seg::ss).type();
  return exempt(s, Seg::ss) || type == 3 || type == 7;
}
bool ss_rpl(S s) {
  return virtual_8086(s) || s.unrestricted() || rpl(s, Seg::ss) == rpl(s, Seg::cs);
}
// Also for an unusable SS.
bool ss_dpl(S s) {
  if (virtual_8086(s)) return true;
  const unsigned dpl = rights(s, Seg::ss).dpl();
  if (!s.unrestricted() && dpl != rpl(s, Seg::ss)) return false;
  const bool must_be_0 = rights(s, Seg::cs).type() == 3 || (s[F::guest_cr0] & cr0::PE) == 0;
  return !must_be_0 || dpl == 0;
}

// --- DS, ES, FS, GS ----------------------------------------------------------------------------
template <Seg seg>
bool data_type(S s) {
  const unsigned type = rights(s, seg).type();
  return exempt(s, seg) || ((type & 1) != 0 && ((type & 8) == 0 || (type & 2) != 0));
}
template <Seg seg>
bool data_dpl(S s) {
  const Rights r = rights(s, seg);
  return exempt(s, seg) || s.unrestricted() || r.type() > 11 || r.dpl() >= rpl(s, seg);
}

// --- TR and LDTR -------------------------------------------------------------------------------
bool tr_type(S s) {
  const unsigned type = rights(s, Seg::tr).type();
  return type == 11 || (type == 3 && !s.ia32e_guest());
}
bool ldtr_type(S s) { return system_exempt(s, Seg::ldtr) || rights(s, Seg::ldtr).type() == 2; }
template <Seg seg>
bool system_segment(S s) {
  return system_exempt(s, seg) || !rights(s, seg).s();
}
template <Seg seg>
bool system_present(S s) {
  return system_exempt(s, seg) || rights(s, seg).present();
}
template <Seg seg>
bool system_reserved(S s) {
  return system_exempt(s, seg) || rights(s, seg).reserved_clear();
}
template <Seg seg>
bool system_granularity(S s) {
  return system_exempt(s, seg) || granularity(s, seg);
}
template <Seg seg>
bool selector_ti(S s) {
  return system_exempt(s, seg) || (s[selector_of(seg)] & 4) == 0;
}

template <F field>
bool table_base(S s) {
  return s.canonical(s[field]);
}
template <F field>
bool table_limit(S s) {
  return s[field] <= 0xffff;
}

#define V86_ROWS(seg)                                                                              \
  {"guest." #seg ".v86_base", kSegments, fields(kFlags, selector_of(Seg::seg), base_of(Seg::seg)), \
   v86_base<Seg::seg>, "selector << 4 in virtual-8086 mode"},                                      \
      {"guest." #seg ".v86_limit", kSegments, fields(kFlags, limit_of(Seg::seg)),                  \
       v86_limit<Seg::seg>, "FFFFH in virtual-8086 mode"},                                         \
  {                                                                                                \
    "guest." #seg ".v86_rights", kSegments, fields(kFlags, rights_of(Seg::seg)),                   \
        v86_rights<Seg::seg>, "F3H in virtual-8086 mode"                                           \
  }

#define COMMON_ROWS(seg)                                                                       \
  {"guest." #seg ".s", kSegments, fields(rights_of(Seg::seg), kFlags), code_or_data<Seg::seg>, \
   "S (bit 4) is 1"},                                                                          \
      {"guest." #seg ".present", kSegments, fields(rights_of(Seg::seg), kFlags),               \
       present<Seg::seg>, "P (bit 7) is 1"},                                                   \
      {"guest." #seg ".reserved", kSegments, fields(rights_of(Seg::seg), kFlags),              \
       reserved<Seg::seg>, "bits 31:17 and 11:8 are 0"},                                       \
  {                                                                                            \
    "guest." #seg ".granularity", kSegments,                                                   \
        fields(rights_of(Seg::seg), limit_of(Seg::seg), kFlags), limit_granularity<Seg::seg>,  \
        "G is 0 if a bit in limit[11:0] is 0, and 1 if a bit in limit[31:20] is 1"             \
  }

#define DATA_ROWS(seg)                                                                         \
  {"guest." #seg ".type", kSegments, fields(rights_of(Seg::seg), kFlags), data_type<Seg::seg>, \
   "accessed; readable when code"},                                                            \
      {"guest." #seg ".dpl", kSegments,                                                        \
       fields(rights_of(Seg::seg), selector_of(Seg::seg), kFlags, kProc, kProc2),              \
       data_dpl<Seg::seg>, "not less than the selector's RPL for types 0-11"},                 \
      COMMON_ROWS(seg)

#define SYSTEM_ROWS(seg)                                                                           \
  {"guest." #seg ".s", kSegments, fields(rights_of(Seg::seg)), system_segment<Seg::seg>,           \
   "S (bit 4) is 0"},                                                                              \
      {"guest." #seg ".present", kSegments, fields(rights_of(Seg::seg)), system_present<Seg::seg>, \
       "P (bit 7) is 1"},                                                                          \
      {"guest." #seg ".reserved", kSegments, fields(rights_of(Seg::seg)),                          \
       system_reserved<Seg::seg>, "bits 31:17 and 11:8 are 0"},                                    \
  {                                                                                                \
    "guest." #seg ".granularity", kSegments, fields(rights_of(Seg::seg), limit_of(Seg::seg)),      \
        system_granularity<Seg::seg>,                                                              \
        "G is 0 if a bit in limit[11:0] is 0, and 1 if a bit in limit[31:20] is 1"                 \
  }

#define BASE_ROW(seg, predicate, text)                                                \
  {                                                                                   \
    "guest." #seg ".base", kSegments, fields(base_of(Seg::seg), rights_of(Seg::seg)), \
        predicate<Seg::seg>, text                                                     \
  }

constexpr const char* kCanonicalBase = "canonical";
constexpr const char* kLowBase = "bits 63:32 are 0";

constexpr CheckRow kRows[] = {
    {"guest.tr.selector_ti", kSegments, fields(F::guest_tr_selector), selector_ti<Seg::tr>,
     "TI (bit 2) is 0"},
    {"guest.ldtr.selector_ti", kSegments,
     fields(F::guest_ldtr_selector, F::guest_ldtr_access_rights), selector_ti<Seg::ldtr>,
     "TI (bit 2) is 0 when LDTR is usable"},
    {"guest.ss.selector_rpl", kSegments,
     fields(F::guest_ss_selector, F::guest_cs_selector, kFlags, kProc, kProc2), ss_rpl,
     "SS.RPL equals CS.RPL"},
    V86_ROWS(cs),
    V86_ROWS(ss),
    V86_ROWS(ds),
    V86_ROWS(es),
    V86_ROWS(fs),
    V86_ROWS(gs),
    BASE_ROW(tr, base_canonical, kCanonicalBase),
    BASE_ROW(fs, base_canonical, kCanonicalBase),
    BASE_ROW(gs, base_canonical, kCanonicalBase),
    BASE_ROW(ldtr, base_canonical, kCanonicalBase),
    BASE_ROW(cs, base_32bit, kLowBase),
    BASE_ROW(ss, base_32bit, kLowBase),
    BASE_ROW(ds, base_32bit, kLowBase),
    BASE_ROW(es, base_32bit, kLowBase),
    {"guest.cs.type", kSegments, fields(F::guest_cs_access_rights, kFlags, kProc, kProc2), cs_type,
     "accessed code (9, 11, 13, 15); also 3 for an unrestricted guest"},
    {"guest.cs.dpl", kSegments,
     fields(F::guest_cs_access_rights, F::guest_ss_access_rights, kFlags), cs_dpl,
     "type 3: 0; non-conforming: SS.DPL; conforming: at most SS.DPL"},
    {"guest.cs.d", kSegments, fields(F::guest_cs_access_rights, kFlags, kEntry), cs_d,
     "D/B is 0 in 64-bit mode"},
    COMMON_ROWS(cs),
    {"guest.ss.type", kSegments, fields(F::guest_ss_access_rights, kFlags), ss_type, "3 or 7"},
    {"guest.ss.dpl", kSegments,
     fields(F::guest_ss_access_rights, F::guest_ss_selector, F::guest_cs_access_rights, kFlags,
            F::guest_cr0, kProc, kProc2),
     ss_dpl, "the selector's RPL (not for an unrestricted guest); 0 with CS type 3 or CR0.PE 0"},
    COMMON_ROWS(ss),
    DATA_ROWS(ds),
    DATA_ROWS(es),
    DATA_ROWS(fs),
    DATA_ROWS(gs),
    {"guest.tr.type", kSegments, fields(F::guest_tr_access_rights, kEntry), tr_type,
     "busy TSS: 11, or 3 outside IA-32e mode"},
    {"guest.tr.usable", kSegments, fields(F::guest_tr_access_rights),
     [](S s) { return !rights(s, Seg::tr).unusable(); }, "usable"},
    SYSTEM_ROWS(tr),
    {"guest.ldtr.type", kSegments, fields(F::guest_ldtr_access_rights), ldtr_type, "2 (LDT)"},
    SYSTEM_ROWS(ldtr),
    {"guest.gdtr.base", kTables, fields(F::guest_gdtr_base), table_base<F::guest_gdtr_base>,
     "canonical"},
    {"guest.gdtr.limit", kTables, fields(F::guest_gdtr_limit), table_limit<F::guest_gdtr_limit>,
     "bits 31:16 are 0"},
    {"guest.idtr.base", kTables, fields(F::guest_idtr_base), table_base<F::guest_idtr_base>,
     "canonical"},
    {"guest.idtr.limit", kTables, fields(F::guest_idtr_limit), table_limit<F::guest_idtr_limit>,
     "bits 31:16 are 0"},
};

#undef V86_ROWS
#undef COMMON_ROWS
#undef DATA_ROWS
#undef SYSTEM_ROWS
#undef BASE_ROW

}  // namespace

CheckSection guest_segment_checks() { return section<kRows>(); }

}  // namespace cupel::vtx
