// The groups of the self-test. Freestanding.
#pragma once

#include "hypervisor/metal/lab.h"
#include "hypervisor/metal/tap.h"

namespace cupel::metal {

void test_instructions(Tap& tap, Lab& lab);
void test_instructions_cpl3(Tap& tap, Lab& lab);
void test_vmcs_access(Tap& tap, Lab& lab);
void test_entry_instructions(Tap& tap, Lab& lab);
void test_exits_basic(Tap& tap, Lab& lab);
void test_exits_vmx(Tap& tap, Lab& lab);
void test_exits_io(Tap& tap, Lab& lab);
void test_exits_registers(Tap& tap, Lab& lab);

void test_ept_rights(Tap& tap, Lab& lab);
void test_vmfunc(Tap& tap, Lab& lab);
void test_shadowing(Tap& tap, Lab& lab);
void test_guest_time(Tap& tap, Lab& lab);
void test_exits_exceptions(Tap& tap, Lab& lab);
void test_injection(Tap& tap, Lab& lab);
void test_windows(Tap& tap, Lab& lab);
void test_ept(Tap& tap, Lab& lab);
void test_apic(Tap& tap, Lab& lab);
void test_state(Tap& tap, Lab& lab);
void test_checks_controls(Tap& tap, Lab& lab);
void test_checks_host(Tap& tap, Lab& lab);
void test_checks_guest(Tap& tap, Lab& lab);
void test_checks_segments(Tap& tap, Lab& lab);
void test_apic_virtualization(Tap& tap, Lab& lab);

}  // namespace cupel::metal
