#include <utility>

#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {

using namespace x86;

CheckBench::CheckBench(CapabilityProfile p, uint8_t physical, uint8_t linear)
    : profile(std::move(p)),
      physical_bits(physical),
      linear_bits(linear),
      memory(std::move(PhysicalMemory::create(1_MiB)).value()),
      due(CheckTable::instance().all()) {
  memory->write(kVmcs, profile.revision);
  for (const auto& [field, value] : good_state(profile)) vmcs[field] = value;
}

void CheckBench::set(F f, uint64_t value) {
  needs(profile.has_field(encoding_of(f)));
  vmcs[f] = value & width_mask(field_width(encoding_of(f)));
  due |= CheckTable::instance().reading(f);
}

EntryState CheckBench::state() {
  return {{}, vmcs, profile, host, *memory, kVmcs, physical_bits, linear_bits};
}

bool CheckBench::applies(bool words) const {
  if (!applies_ || !words) return applies_;
  // Words that are not active are not looked at.
  const auto active = [this](F word, uint32_t bit) { return (get(word) & bit) != 0; };
  const auto& c = profile;
  const F primary = F::primary_processor_controls;
  const bool proc2 = active(primary, proc::secondary_controls),
             proc3 = active(primary, proc::tertiary_controls),
             exit2 = active(F::exit_controls, exitctl::secondary_controls);
  return c.pin.accepts(get(F::pin_based_controls)) && c.proc.accepts(get(primary)) &&
         c.exit.accepts(get(F::exit_controls)) && c.entry.accepts(get(F::entry_controls)) &&
         (!proc2 || c.proc2.accepts(get(F::secondary_processor_controls))) &&
         (!proc3 || (get(F::tertiary_controls) & ~c.proc3) == 0) &&
         (!exit2 || (get(F::secondary_exit_controls) & ~c.exit2) == 0);
}

namespace {

std::set<std::string> ids(const EntryState& state, RowSet& rows) {
  std::vector<CheckFailure> failures;
  run_checks(state, rows, failures);
  std::set<std::string> all;
  for (const auto& f : failures) all.insert(f.row->id);
  return all;
}

}  // namespace

std::set<std::string> CheckBench::failing_of_all() {
  RowSet rows = CheckTable::instance().all();
  return ids(state(), rows);
}

std::set<std::string> CheckBench::failing_of_due() { return ids(state(), due); }

void protected_mode(CheckBench& b) {
  b.clear_bits(F::entry_controls, entryctl::ia32e_mode_guest);
  if ((b.get(F::entry_controls) & entryctl::load_efer) != 0) b.set(F::guest_efer, 0);
  b.set(F::guest_cs_access_rights, 0xc09b);
  b.set(F::guest_cr4, cr4::VMXE);
}
void pae_mode(CheckBench& b) {
  protected_mode(b);
  b.set_bits(F::guest_cr4, cr4::PAE);
}
void v86_mode(CheckBench& b) {
  protected_mode(b);
  b.set_bits(F::guest_rflags, rflags::VM);
  for (unsigned n = 0; n < 6; ++n) {
    const auto at = [n](F first) { return static_cast<F>(static_cast<unsigned>(first) + n); };
    b.set(at(F::guest_es_selector), 0x1000 + n);
    b.set(at(F::guest_es_base), (0x1000 + n) << 4);
    b.set(at(F::guest_es_limit), 0xffff);
    b.set(at(F::guest_es_access_rights), 0xf3);
  }
}
void restricted(CheckBench& b) {
  if ((b.get(F::secondary_processor_controls) & proc2::unrestricted_guest) != 0)
    b.clear_bits(F::secondary_processor_controls, proc2::unrestricted_guest);
}
void no_ept(CheckBench& b) {
  restricted(b);
  if ((b.get(F::secondary_processor_controls) & proc2::enable_ept) != 0)
    b.clear_bits(F::secondary_processor_controls, proc2::enable_ept);
}
void host_32(CheckBench& b) {
  protected_mode(b);
  b.host.efer = 0;
  b.changed_host();
  b.clear_bits(F::exit_controls, exitctl::host_address_space_size);
  if ((b.get(F::exit_controls) & exitctl::load_efer) != 0) b.set(F::host_efer, 0);
  b.set(F::host_rip, 0xffffffff);
}

CapabilityProfile everything_offered() {
  CapabilityProfile p = server_capabilities();
  p.name = "everything";
  for (ControlRange* r : {&p.pin, &p.proc, &p.proc2, &p.exit, &p.entry}) r->allowed = 0xffffffff;
  p.proc3 = p.exit2 = ~0ull;
  p.vmfunc = 1;
  p.ept_vpid |= eptcap::walk_length_5 | eptcap::supervisor_shadow_stack;
  p.cr4_fixed1 = cr4::FRED | 0xffffffff;
  auto& f = p.features;
  f.sgx = f.rtm = f.bus_lock_debug = f.shadow_stacks = f.branch_tracking = true;
  f.address_masking = f.nmi_needs_no_sti_blocking = true;
  f.perf_global_ctrl = 0x70000000f;
  f.rtit_ctl = 0x10f;
  f.lbr_ctl = 0x7f000f;
  return p;
}

}  // namespace cupel::vtx::testing
