// The VMX instructions of the model, below the hypervisor.
#include "bench/figures.h"
#include "bench/guest_loop.h"
#include "bench/vm_loop.h"
#include "core/x86/vmcs.h"
#include "scenarios/backend/model_seat.h"

namespace cupel::bench {
namespace {

using x86::Field32;
using x86::FieldN;
using x86::VmxStatus;

constexpr unsigned kAccesses = 200'000, kEntries = 20'000;

// A guest that stands at CPUID, entered without the hypervisor.
class RawGuest {
 public:
  static Result<std::unique_ptr<RawGuest>> create() {
    std::unique_ptr<RawGuest> guest(new RawGuest);
    auto loop = VmLoop::on_model(LoopKind::cpuid);
    if (!loop.ok()) return std::move(loop).failure();
    guest->loop_ = std::move(loop).value();
    CUPEL_TRY(guest->loop_->run(1_us));
    guest->regs_[x86::Gpr::r15] = ~0ull;
    return guest;
  }

  vtx::LogicalProcessor& vtx() { return static_cast<scenarios::ModelSeat&>(loop_->seat()).vtx(); }

  // VMRESUME up to the next CPUID, and past it. `all_checks`: as if all of the VMCS and the host
  // state had been written since the last entry.
  Result<double> entry_cost(bool all_checks) {
    bool good = true;
    const double start = processor_seconds();
    for (unsigned i = 0; i < kEntries; ++i) {
      if (all_checks) vtx().host_state();
      uint64_t rip = 0;
      good &= vtx().write(Field32::preemption_timer_value, ~0u) == VmxStatus::succeed;
      good &= vtx().vmresume(regs_) == VmxStatus::succeed;
      good &= vtx().read(FieldN::guest_rip, rip) == VmxStatus::succeed;
      good &= vtx().write(FieldN::guest_rip, rip + 2) == VmxStatus::succeed;
    }
    if (!good) return fail(ErrorKind::internal, vtx().describe_entry_failures());
    return (processor_seconds() - start) * 1e9 / kEntries;
  }

  Result<double> read_cost() {
    bool good = true;
    uint64_t value = 0;
    const double start = processor_seconds();
    for (unsigned i = 0; i < kAccesses; ++i)
      good &= vtx().read(FieldN::guest_rip, value) == VmxStatus::succeed;
    if (!good) return fail(ErrorKind::internal, "VMREAD failed");
    return (processor_seconds() - start) * 1e9 / kAccesses;
  }

  Result<double> write_cost() {
    uint64_t value = 0;
    bool good = vtx().read(FieldN::guest_rip, value) == VmxStatus::succeed;
    const double start = processor_seconds();
    for (unsigned i = 0; i < kAccesses; ++i)
      good &= vtx().write(FieldN::guest_rip, value) == VmxStatus::succeed;
    if (!good) return fail(ErrorKind::internal, "VMWRITE failed");
    return (processor_seconds() - start) * 1e9 / kAccesses;
  }

 private:
  RawGuest() = default;

  std::unique_ptr<VmLoop> loop_;
  x86::GprFile regs_;
};

Result<Figure> accesses(bool write) {
  auto guest = RawGuest::create();
  if (!guest.ok()) return std::move(guest).failure();
  std::vector<double> costs;
  for (int round = 0; round < 9; ++round) {
    auto cost = write ? (*guest)->write_cost() : (*guest)->read_cost();
    if (!cost.ok()) return std::move(cost).failure();
    costs.push_back(*cost);
  }
  return Figure{median(costs), "ns"};
}

Result<Figure> checked_entry() {
  auto guest = RawGuest::create();
  if (!guest.ok()) return std::move(guest).failure();
  auto pair = take_turns(
      9, [&] { return (*guest)->entry_cost(true); }, [&] { return (*guest)->entry_cost(false); });
  if (!pair.ok()) return std::move(pair).failure();
  return Figure{pair->value, "ns", pair->denominator, "entry and exit with no check due"};
}

}  // namespace

void add_vmx_figures() {
  add_figure("vmx.vmread", [] { return accesses(false); });
  add_figure("vmx.vmwrite", [] { return accesses(true); });
  add_figure("vmx.entry_all_checks", checked_entry);
}

}  // namespace cupel::bench
