// Border states of the checks on the guest's segment registers and descriptor tables.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

template <F field, uint64_t value>
void put(B b) {
  b.set(field, value);
}
template <F field>
void last_canonical(B b) {
  b.set(field, b.non_canonical() - 1);
}
template <F field>
void first_non_canonical(B b) {
  b.set(field, b.non_canonical());
}

#define V86_CASES(seg)                                                                \
  {"guest." #seg ".v86_base", v86_mode, put<F::guest_##seg##_base, 0>},               \
      {"guest." #seg ".v86_limit", v86_mode, put<F::guest_##seg##_limit, 0xfffff>}, { \
    "guest." #seg ".v86_rights", v86_mode, put<F::guest_##seg##_access_rights, 0x93>  \
  }

// What an unusable register is not asked.
#define COMMON_CASES(seg)                                                  \
  {"guest." #seg ".s", nothing,                                            \
   [](B b) { b.clear_bits(F::guest_##seg##_access_rights, 1 << 4); }},     \
      {"guest." #seg ".present", nothing,                                  \
       [](B b) { b.clear_bits(F::guest_##seg##_access_rights, 1 << 7); }}, \
      {"guest." #seg ".reserved",                                          \
       [](B b) { b.set_bits(F::guest_##seg##_access_rights, 1 << 12); },   \
       [](B b) { b.set_bits(F::guest_##seg##_access_rights, 1 << 8); }},   \
      {"guest." #seg ".reserved", nothing,                                 \
       [](B b) { b.set_bits(F::guest_##seg##_access_rights, 1 << 17); }},  \
      {"guest." #seg ".granularity", put<F::guest_##seg##_limit, 0xfff>,   \
       put<F::guest_##seg##_limit, 0xffe>},                                \
  {                                                                        \
    "guest." #seg ".granularity",                                          \
        [](B b) {                                                          \
          b.clear_bits(F::guest_##seg##_access_rights, 1 << 15);           \
          b.set(F::guest_##seg##_limit, 0xfffff);                          \
        },                                                                 \
        put<F::guest_##seg##_limit, 0x100000>                              \
  }

#define UNUSABLE_CASES(seg)                                                                       \
  {"guest." #seg ".type", [](B b) { b.set(F::guest_##seg##_access_rights, Segment::kUnusable); }, \
   [](B b) { b.set(F::guest_##seg##_access_rights, 0xc090); }},                                   \
  {                                                                                               \
    "guest." #seg ".base",                                                                        \
        [](B b) {                                                                                 \
          b.set(F::guest_##seg##_access_rights, 0xc093 | Segment::kUnusable);                     \
          b.set(F::guest_##seg##_base, 1ull << 32);                                               \
        },                                                                                        \
        put<F::guest_##seg##_access_rights, 0xc093>                                               \
  }

#define DATA_CASES(seg)                                                \
  {"guest." #seg ".type", put<F::guest_##seg##_access_rights, 0xc09b>, \
   put<F::guest_##seg##_access_rights, 0xc099>},                       \
      {"guest." #seg ".dpl",                                           \
       [](B b) {                                                       \
         restricted(b);                                                \
         b.set(F::guest_##seg##_access_rights, 0xc0d3);                \
         b.set(F::guest_##seg##_selector, 2);                          \
       },                                                              \
       put<F::guest_##seg##_selector, 3>},                             \
      {"guest." #seg ".dpl",                                           \
       [](B b) { /* conforming code may be less privileged */          \
                 restricted(b);                                        \
                 b.set(F::guest_##seg##_access_rights, 0xc09f);        \
                 b.set(F::guest_##seg##_selector, 3);                  \
       },                                                              \
       put<F::guest_##seg##_access_rights, 0xc09b>},                   \
      COMMON_CASES(seg)

#define SYSTEM_CASES(seg, type)                                                       \
  {"guest." #seg ".s", put<F::guest_##seg##_access_rights, 0x80 | (type)>,            \
   put<F::guest_##seg##_access_rights, 0x90 | (type)>},                               \
      {"guest." #seg ".present", put<F::guest_##seg##_access_rights, 0x80 | (type)>,  \
       put<F::guest_##seg##_access_rights, (type)>},                                  \
      {"guest." #seg ".reserved", put<F::guest_##seg##_access_rights, 0x80 | (type)>, \
       put<F::guest_##seg##_access_rights, 0x180 | (type)>},                          \
      {"guest." #seg ".reserved", put<F::guest_##seg##_access_rights, 0x80 | (type)>, \
       put<F::guest_##seg##_access_rights, 0x20080 | (type)>},                        \
      {"guest." #seg ".granularity",                                                  \
       [](B b) {                                                                      \
         b.set(F::guest_##seg##_access_rights, 0x8080 | (type));                      \
         b.set(F::guest_##seg##_limit, 0x1fff);                                       \
       },                                                                             \
       put<F::guest_##seg##_limit, 0x1ffe>},                                          \
  {                                                                                   \
    "guest." #seg ".granularity",                                                     \
        [](B b) {                                                                     \
          b.set(F::guest_##seg##_access_rights, 0x80 | (type));                       \
          b.set(F::guest_##seg##_limit, 0xfffff);                                     \
        },                                                                            \
        put<F::guest_##seg##_limit, 0x100000>                                         \
  }

// CS of ring 3 with data segments of ring 3: what an unprivileged guest has.
void ring3(B b) {
  for (const F f :
       {F::guest_cs_access_rights, F::guest_ss_access_rights, F::guest_ds_access_rights,
        F::guest_es_access_rights, F::guest_fs_access_rights, F::guest_gs_access_rights})
    b.set_bits(f, 3 << 5);
  for (const F f : {F::guest_cs_selector, F::guest_ss_selector}) b.set_bits(f, 3);
}

const CheckCase kCases[] = {
    {"guest.tr.selector_ti", put<F::guest_tr_selector, 3>, put<F::guest_tr_selector, 4>},
    {"guest.ldtr.selector_ti",
     [](B b) {
       b.set(F::guest_ldtr_selector, 4);
       b.set(F::guest_ldtr_access_rights, 0x82 | Segment::kUnusable);
     },
     put<F::guest_ldtr_access_rights, 0x82>},
    {"guest.ss.selector_rpl",
     [](B b) {
       restricted(b);
       ring3(b);
     },
     put<F::guest_cs_selector, 8>},
    V86_CASES(cs),
    V86_CASES(ss),
    V86_CASES(ds),
    V86_CASES(es),
    V86_CASES(fs),
    V86_CASES(gs),
    {"guest.tr.base", last_canonical<F::guest_tr_base>, first_non_canonical<F::guest_tr_base>},
    {"guest.fs.base", last_canonical<F::guest_fs_base>, first_non_canonical<F::guest_fs_base>},
    {"guest.gs.base", last_canonical<F::guest_gs_base>, first_non_canonical<F::guest_gs_base>},
    {"guest.ldtr.base",
     [](B b) {
       b.set(F::guest_ldtr_access_rights, 0x82 | Segment::kUnusable);
       first_non_canonical<F::guest_ldtr_base>(b);
     },
     put<F::guest_ldtr_access_rights, 0x82>},
    {"guest.cs.base", put<F::guest_cs_base, 0xffffffff>, put<F::guest_cs_base, 1ull << 32>},
    {"guest.cs.type", nothing, put<F::guest_cs_access_rights, 0xa091>},
    {"guest.cs.type",  // data is code for an unrestricted guest only
     [](B b) {
       b.needs(b.profile.proc2.offers(proc2::unrestricted_guest));
       b.set(F::guest_cs_access_rights, 0xa093);
     },
     restricted},
    {"guest.cs.dpl", nothing, [](B b) { b.set_bits(F::guest_cs_access_rights, 3 << 5); }},
    {"guest.cs.dpl",  // conforming
     [](B b) {
       restricted(b);
       ring3(b);
       b.set(F::guest_cs_access_rights, 0xa09f);
     },
     put<F::guest_cs_access_rights, 0xa09b>},
    {"guest.cs.dpl",
     [](B b) {
       b.needs(b.profile.proc2.offers(proc2::unrestricted_guest));
       b.set(F::guest_cs_access_rights, 0xa093);
     },
     put<F::guest_cs_access_rights, 0xa0b3>},
    {"guest.cs.d", nothing, [](B b) { b.set_bits(F::guest_cs_access_rights, 1 << 14); }},
    COMMON_CASES(cs),
    {"guest.ss.type", put<F::guest_ss_access_rights, 0xc097>,
     put<F::guest_ss_access_rights, 0xc095>},
    {"guest.ss.dpl",
     [](B b) {
       restricted(b);
       b.set(F::guest_cs_access_rights, 0xa09f);
     },
     put<F::guest_ss_access_rights, 0xc0f3>},
    {"guest.ss.dpl",  // real mode
     [](B b) {
       b.needs(b.profile.proc2.offers(proc2::unrestricted_guest));
       protected_mode(b);
       b.set(F::guest_cr0, 0x30);
       b.set(F::guest_cs_access_rights, 0xc09f);
     },
     put<F::guest_ss_access_rights, 0xc0f3>},
    {"guest.ss.dpl",  // also of an unusable register
     [](B b) {
       restricted(b);
       b.set(F::guest_cs_access_rights, 0xa09f);
       b.set(F::guest_ss_access_rights, Segment::kUnusable);
     },
     put<F::guest_ss_access_rights, Segment::kUnusable | 0x60>},
    COMMON_CASES(ss),
    UNUSABLE_CASES(ss),
    DATA_CASES(ds),
    UNUSABLE_CASES(ds),
    DATA_CASES(es),
    UNUSABLE_CASES(es),
    DATA_CASES(fs),
    DATA_CASES(gs),
    {"guest.tr.type", nothing, put<F::guest_tr_access_rights, 0x83>},
    {"guest.tr.type",
     [](B b) {
       protected_mode(b);
       b.set(F::guest_tr_access_rights, 0x83);
     },
     put<F::guest_tr_access_rights, 0x81>},
    {"guest.tr.usable", nothing, [](B b) { b.set_bits(F::guest_tr_access_rights, 1 << 16); }},
    SYSTEM_CASES(tr, 11),
    {"guest.ldtr.type", put<F::guest_ldtr_access_rights, 0x82>,
     put<F::guest_ldtr_access_rights, 0x83>},
    SYSTEM_CASES(ldtr, 2),
    {"guest.gdtr.base", last_canonical<F::guest_gdtr_base>,
     first_non_canonical<F::guest_gdtr_base>},
    {"guest.gdtr.limit", put<F::guest_gdtr_limit, 0xffff>, put<F::guest_gdtr_limit, 0x10000>},
    {"guest.idtr.base", last_canonical<F::guest_idtr_base>,
     first_non_canonical<F::guest_idtr_base>},
    {"guest.idtr.limit", put<F::guest_idtr_limit, 0xffff>, put<F::guest_idtr_limit, 0x10000>},
};

}  // namespace

std::span<const CheckCase> guest_segment_cases() { return kCases; }

}  // namespace cupel::vtx::testing
