#include "hw_models/vtx/coverage.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/vmx_error.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using Reason = ExitReason;
using Json = nlohmann::ordered_json;

enum class Word : uint8_t { always, pin, proc, proc2, never };
struct Condition {
  Reason reason;
  Word word;
  uint32_t bits;
};

// Exits not listed need no control.
constexpr Condition kConditions[] = {
    {Reason::io_smi, Word::never, 0},
    {Reason::other_smi, Word::never, 0},
    {Reason::getsec, Word::never, 0},
    {Reason::rsm, Word::never, 0},
    {Reason::entry_failure_machine_check, Word::never, 0},
    {Reason::xsetbv, Word::never, 0},  // the engine has no XSAVE, and no MONITOR
    {Reason::mwait, Word::never, 0},
    {Reason::monitor, Word::never, 0},
    {Reason::xsaves, Word::proc2, proc2::enable_xsaves},
    {Reason::xrstors, Word::proc2, proc2::enable_xsaves},
    {Reason::external_interrupt, Word::pin, pin::external_interrupt_exiting},
    {Reason::interrupt_window, Word::proc, proc::interrupt_window},
    {Reason::nmi_window, Word::proc, proc::nmi_window},
    {Reason::hlt, Word::proc, proc::hlt_exiting},
    {Reason::invlpg, Word::proc, proc::invlpg_exiting},
    {Reason::rdpmc, Word::proc, proc::rdpmc_exiting},
    {Reason::rdtsc, Word::proc, proc::rdtsc_exiting},
    {Reason::mov_dr, Word::proc, proc::mov_dr_exiting},
    {Reason::pause, Word::proc, proc::pause_exiting},
    {Reason::monitor_trap_flag, Word::proc, proc::monitor_trap_flag},
    {Reason::tpr_below_threshold, Word::proc, proc::tpr_shadow},
    {Reason::apic_access, Word::proc2, proc2::virtualize_apic_accesses},
    {Reason::virtualized_eoi, Word::proc2, proc2::virtual_interrupt_delivery},
    {Reason::apic_write, Word::proc2, proc2::apic_register_virtualization},
    {Reason::gdtr_idtr_access, Word::proc2, proc2::descriptor_table_exiting},
    {Reason::ldtr_tr_access, Word::proc2, proc2::descriptor_table_exiting},
    {Reason::ept_violation, Word::proc2, proc2::enable_ept},
    {Reason::ept_misconfiguration, Word::proc2, proc2::enable_ept},
    {Reason::invept, Word::proc2, proc2::enable_ept},
    {Reason::invvpid, Word::proc2, proc2::enable_vpid},
    {Reason::rdtscp, Word::proc2, proc2::enable_rdtscp},
    {Reason::preemption_timer, Word::pin, pin::preemption_timer},
    {Reason::wbinvd, Word::proc2, proc2::wbinvd_exiting},
    {Reason::rdrand, Word::proc2, proc2::rdrand_exiting},
    {Reason::rdseed, Word::proc2, proc2::rdseed_exiting},
    {Reason::invpcid, Word::proc2, proc2::enable_invpcid},
    {Reason::vmfunc, Word::proc2, proc2::enable_vmfunc},
    {Reason::encls, Word::proc2, proc2::encls_exiting},
    {Reason::enclv, Word::proc2, proc2::enclv_exiting},
    {Reason::page_modification_log_full, Word::proc2, proc2::enable_pml},
    {Reason::pconfig, Word::proc2, proc2::enable_pconfig},
    {Reason::umwait, Word::proc2, proc2::user_wait_pause},
    {Reason::tpause, Word::proc2, proc2::user_wait_pause},
};
constexpr uint32_t kLastCommon = 68;  // beyond it: features that no profile here offers

struct Named {
  Reason reason;
  const char* name;
};
constexpr Named kReasons[] = {
#define CUPEL_NAMED(name, number) {Reason::name, #name},
    CUPEL_EXIT_REASONS(CUPEL_NAMED)
#undef CUPEL_NAMED
};

// Rows about features that a processor must have (or lack) for them to refuse anything by
// themselves.
using P = const CapabilityProfile&;
struct RowCondition {
  std::string_view suffix;  // of the row's ID
  bool (*possible)(P);
};
constexpr RowCondition kRowConditions[] = {
    {"cr4.cet", [](P p) { return (p.cr4_fixed1 & cr4::CET) != 0; }},
    {"cr4.fred", [](P p) { return (p.cr4_fixed1 & cr4::FRED) != 0; }},
    {"cr4.pcide", [](P p) { return (p.cr4_fixed1 & cr4::PCIDE) != 0; }},
    {"eptp.accessed_dirty", [](P p) { return (p.ept_vpid & eptcap::accessed_dirty) == 0; }},
    {"eptp.shadow_stack", [](P p) { return p.features.shadow_stacks; }},
    {"sub_page_permissions.ept", [](P p) { return p.proc2.offers(proc2::sub_page_permissions); }},
    {"pt_guest_physical", [](P p) { return p.proc2.offers(proc2::pt_guest_physical); }},
    {"entry.smm_exclusive", [](P p) { return p.dual_monitor; }},
    {"activity.smm", [](P p) { return p.dual_monitor; }},
    {"entry.trace", [](P p) { return p.entry.offers(entryctl::load_rtit_ctl); }},
    {"pending_debug.rtm", [](P p) { return p.features.rtm; }},
    {"pending_debug.rtm_mov_ss", [](P p) { return p.features.rtm; }},
    {"interruptibility.enclave_mov_ss", [](P p) { return p.features.sgx; }},
    {"interruptibility.nmi_sti", [](P p) { return p.features.nmi_needs_no_sti_blocking; }},
};

constexpr uint32_t kPossibleErrors[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 26, 28};

Json section(Json reached, Json missing) {
  return {{"reached", std::move(reached)}, {"missing", std::move(missing)}};
}

}  // namespace

void Coverage::add(const Coverage& other) {
  for (size_t n = 0; n < exits.size(); ++n) exits[n] += other.exits[n];
  for (size_t n = 0; n < errors.size(); ++n) errors[n] += other.errors[n];
  rows_failed |= other.rows_failed;
  read |= other.read;
  written |= other.written;
  entries += other.entries;
}

bool exit_possible(const CapabilityProfile& profile, Reason reason) {
  for (const Condition& c : kConditions) {
    if (c.reason != reason) continue;
    switch (c.word) {
      case Word::always:
        return true;
      case Word::pin:
        return (profile.pin.allowed & c.bits) != 0;
      case Word::proc:
        return (profile.proc.allowed & c.bits) != 0;
      case Word::proc2:
        return (profile.proc2.allowed & c.bits) != 0;
      case Word::never:
        return false;
    }
  }
  return static_cast<uint32_t>(reason) <= kLastCommon && reason != Reason::spp_event;
}

bool row_possible(const CapabilityProfile& profile, const CheckRow& row) {
  const std::string_view id = row.id;
  for (const RowCondition& c : kRowConditions)
    if (id.ends_with(c.suffix) && !c.possible(profile)) return false;
  for (const F field : row.reads)
    if (field != F::none && !profile.has_field(encoding_of(field))) return false;
  return true;
}

std::string to_json(const Coverage& coverage, const CapabilityProfile& profile) {
  Json exits = Json::object(), no_exits = Json::array();
  for (const Named& n : kReasons) {
    const uint64_t count = coverage.exits[static_cast<uint32_t>(n.reason) % Coverage::kReasons];
    if (count != 0) {
      exits[n.name] = count;
    } else if (exit_possible(profile, n.reason)) {
      no_exits.push_back(n.name);
    }
  }
  Json errors = Json::object(), no_errors = Json::array();
  for (const uint32_t n : kPossibleErrors) {
    if (coverage.errors[n] != 0) {
      errors[std::to_string(n)] = coverage.errors[n];
    } else if (n != static_cast<uint32_t>(VmxError::read_only_component) ||
               !profile.vmwrite_any_field) {
      no_errors.push_back(n);
    }
  }
  const CheckTable& table = CheckTable::instance();
  Json rows = Json::array(), no_rows = Json::array();
  for (size_t n = 0; n < table.size(); ++n) {
    if (coverage.rows_failed[n]) {
      rows.push_back(table.row(n).id);
    } else if (row_possible(profile, table.row(n))) {
      no_rows.push_back(table.row(n).id);
    }
  }
  Json fields = Json::array(), no_fields = Json::array();
  for (size_t n = 0; n < kFieldCount; ++n) {
    const F field = static_cast<F>(n);
    if (!profile.has_field(encoding_of(field))) continue;
    (coverage.read[n] || coverage.written[n] ? fields : no_fields).push_back(name_of(field));
  }
  const Json all = {{"profile", profile.name},           {"entries", coverage.entries},
                    {"exits", section(exits, no_exits)}, {"errors", section(errors, no_errors)},
                    {"rows", section(rows, no_rows)},    {"fields", section(fields, no_fields)}};
  return all.dump();
}

}  // namespace cupel::vtx
