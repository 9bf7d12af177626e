// Border states of the checks on VM-exit and VM-entry control fields.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

constexpr F kExit = F::exit_controls, kEntry = F::entry_controls;
constexpr F kInfo = F::entry_interruption_info;

template <uint32_t info>
void inject(B b) {
  b.set(kInfo, info);
}
void optional_error_code(B b) { b.profile.exception_error_code_optional = true; }
bool fred(B b) { return b.profile.entry.offers(entryctl::load_fred); }
bool mtf(B b) { return b.profile.proc.offers(proc::monitor_trap_flag); }

// Two entries that end with the width pass; one entry more fails.
template <F count, F address>
void area_at_end(B b) {
  b.set(address, b.beyond() - 32);
  b.set(count, 2);
}
template <F count>
void one_more(B b) {
  b.set(count, 3);
}
template <F address>
void misaligned(B b) {
  b.set(address, 0x7008);
}
template <F address>
void wrapping(B b) {
  b.set(address, ~0ull - 15);
}

#define AREA_CASES(id, which)                                                                    \
  {id, area_at_end<F::which##_count, F::which##_address>, one_more<F::which##_count>},           \
      {id, area_at_end<F::which##_count, F::which##_address>, misaligned<F::which##_address>}, { \
    id, area_at_end<F::which##_count, F::which##_address>, wrapping<F::which##_address>          \
  }

const CheckCase kCases[] = {
    {"control.exit.reserved", nothing, [](B b) { b.clear_bits(kExit, 1); }},
    {"control.exit2.reserved",
     [](B b) {
       b.profile.exit2 = exitctl2::save_fred;
       b.set_bits(kExit, exitctl::secondary_controls);
       b.set(F::secondary_exit_controls, 1);
     },
     [](B b) { b.set(F::secondary_exit_controls, 1ull << 63); }},
    {"control.exit2.reserved",  // not looked at while secondary exit controls are not active
     [](B b) {
       b.profile.exit2 = exitctl2::save_fred;
       b.set(F::secondary_exit_controls, 2);
     },
     [](B b) { b.set_bits(kExit, exitctl::secondary_controls); }},
    {"control.exit.save_preemption_timer",
     [](B b) {
       b.set_bits(F::pin_based_controls, pin::preemption_timer);
       b.set_bits(kExit, exitctl::save_preemption_timer);
     },
     [](B b) { b.clear_bits(F::pin_based_controls, pin::preemption_timer); }},
    AREA_CASES("control.exit_msr_store.area", exit_msr_store),
    AREA_CASES("control.exit_msr_load.area", exit_msr_load),

    {"control.entry.reserved", nothing, [](B b) { b.clear_bits(kEntry, 1); }},
    {"control.injection.type", inject<0x80000306>, inject<0x80000100>},
    {"control.injection.type", nothing,
     [](B b) {
       b.needs(!mtf(b));
       b.set(kInfo, 0x80000700);
     }},
    {"control.injection.vector", inject<0x80000202>, inject<0x80000203>},
    {"control.injection.vector",  // #31 is the last
     [](B b) {
       optional_error_code(b);
       b.set(kInfo, 0x8000031f);
     },
     inject<0x80000320>},
    {"control.injection.vector",
     [](B b) {
       b.needs(mtf(b) && !fred(b));
       b.set(kInfo, 0x80000700);
     },
     inject<0x80000701>},
    {"control.injection.vector",  // SYSENTER under FRED
     [](B b) {
       b.needs(mtf(b) && fred(b));
       b.set(F::entry_instruction_length, 2);
       b.set(kInfo, 0x80000702);
     },
     inject<0x80000703>},
    {"control.injection.error_code_missing",
     [](B b) {
       b.profile.exception_error_code_optional = false;
       b.set(kInfo, 0x80000b0d);
     },
     inject<0x8000030d>},
    {"control.injection.error_code_missing",  // #CP
     [](B b) {
       b.needs(b.profile.features.cet());
       b.profile.exception_error_code_optional = false;
       b.set(kInfo, 0x80000b15);
     },
     inject<0x80000315>},
    {"control.injection.error_code_unexpected",
     [](B b) {
       b.profile.exception_error_code_optional = false;
       b.set(kInfo, 0x80000306);
     },
     inject<0x80000b06>},
    {"control.injection.error_code_unexpected",  // #CP without CET
     [](B b) {
       b.needs(!b.profile.features.cet());
       b.profile.exception_error_code_optional = false;
       b.set(kInfo, 0x80000315);
     },
     inject<0x80000b15>},
    {"control.injection.error_code_unexpected",
     [](B b) {
       b.set(F::entry_instruction_length, 2);
       b.set(kInfo, 0x80000480);
     },
     inject<0x80000c80>},
    {"control.injection.error_code_unexpected",  // real mode, whatever IA32_VMX_BASIC[56] says
     [](B b) {
       b.needs(b.profile.proc2.offers(proc2::unrestricted_guest));
       protected_mode(b);
       optional_error_code(b);
       b.set(F::guest_cr0, 0x30);
       b.set(kInfo, 0x8000030d);
     },
     inject<0x80000b0d>},
    {"control.injection.reserved", inject<0x80000306>, inject<0x80001306>},
    {"control.injection.reserved", inject<0x80000306>,
     [](B b) {
       b.needs(!fred(b));
       b.set(kInfo, 0x80002306);
     }},
    {"control.injection.reserved",  // nested exception
     [](B b) {
       b.needs(fred(b));
       b.set(kInfo, 0x80002306);
     },
     inject<0x80006306>},
    {"control.injection.error_code",
     [](B b) {
       b.set(kInfo, 0x80000b0d);
       b.set(F::entry_exception_error_code, 0xffff);
     },
     [](B b) { b.set(F::entry_exception_error_code, 0x10000); }},
    {"control.injection.instruction_length",
     [](B b) {
       b.set(kInfo, 0x80000480);
       b.set(F::entry_instruction_length, 15);
     },
     [](B b) { b.set(F::entry_instruction_length, 16); }},
    {"control.injection.instruction_length",
     [](B b) {
       b.profile.inject_zero_length = false;
       b.set(F::entry_instruction_length, 1);
       b.set(kInfo, 0x80000603);
     },
     [](B b) { b.set(F::entry_instruction_length, 0); }},
    AREA_CASES("control.entry_msr_load.area", entry_msr_load),
    {"control.entry.smm",
     [](B b) {
       b.host.in_smm = true;
       b.set_bits(kEntry, entryctl::deactivate_dual_monitor);
     },
     [](B b) {
       b.host.in_smm = false;
       b.changed_host();
     }},
    {"control.entry.smm_exclusive",
     [](B b) {
       b.host.in_smm = true;
       b.set(F::guest_interruptibility_state, interruptibility::smi);
       b.set_bits(kEntry, entryctl::entry_to_smm);
     },
     [](B b) { b.set_bits(kEntry, entryctl::deactivate_dual_monitor); }},
    {"control.entry.trace", [](B b) { b.set_bits(kEntry, entryctl::load_rtit_ctl); },
     [](B b) {
       b.host.rtit_ctl = 1;
       b.changed_host();
     }},
};

}  // namespace

std::span<const CheckCase> exit_entry_control_cases() { return kCases; }

}  // namespace cupel::vtx::testing
