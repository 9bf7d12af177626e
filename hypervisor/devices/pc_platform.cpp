#include "hypervisor/devices/pc_platform.h"

#include <algorithm>

#include "core/boot/boot_memory.h"
#include "core/x86/msr.h"
#include "hypervisor/devices/guest_cpuid.h"

namespace cupel::devices {
namespace {

constexpr unsigned kTimerIrq = 0, kSerialIrq = 4, kClockIrq = 8;
// 82371AB, "Edge/Level Control Registers": the PCI interrupts of PciHost.
constexpr uint16_t kLevelIrqs = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11;
// IA32_APIC_BASE of a processor whose APIC is disabled.
constexpr uint64_t kApicBaseDisabled = 0xfee00000 | 1 << 8;

uint64_t ones(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

GuestCpuidOptions cpuid_options(const PcConfig& config) {
  return {.local_apic = config.local_apic,
          .tsc_deadline = config.local_apic,
          .arch_capabilities = config.arch_capabilities != 0,
          .tsc_hz = config.tsc_hz};
}

// SDM vol. 3A, "APIC Timer": with leaf 15H the timer counts the crystal.
chips::LocalApicConfig apic_config(const PcConfig& config, const x86::CpuidTable& cpuid) {
  return {.x2apic = (cpuid.get(1, 0).ecx >> 21 & 1) != 0,
          .physical_bits = std::clamp(cpuid.get(0x80000008, 0).eax & 0xff, 36u, 52u),
          .timer_hz = cpuid.get(0x15, 0).ecx,
          .tsc_hz = config.tsc_hz};
}

}  // namespace

Result<std::unique_ptr<PcPlatform>> PcPlatform::create(const VirtualClock& clock,
                                                       GuestMemory& memory,
                                                       const x86::CpuidTable& host,
                                                       PcConfig config) {
  CUPEL_TRY(boot::check_ram_size(memory.size()));
  if (config.tsc_hz < 1'000'000 || config.tsc_hz > 0xffffffff)
    return fail(ErrorKind::bad_input,
                "a TSC of " + std::to_string(config.tsc_hz) + " Hz is not possible",
                "give 1 MHz to 4.29 GHz");
  std::unique_ptr<PcPlatform> platform(new PcPlatform(clock, memory, host, config));
  CUPEL_TRY(platform->attach_ports());
  return platform;
}

PcPlatform::PcPlatform(const VirtualClock& clock, GuestMemory& memory, const x86::CpuidTable& host,
                       PcConfig config)
    : memory_(memory),
      cpuid_(guest_cpuid(host, cpuid_options(config))),
      msrs_(config.arch_capabilities),
      pit_(clock),
      port_b_(pit_),
      rtc_(clock, config.start_epoch),
      uart_(clock),
      pci_([this](unsigned irq, bool level) { set_irq(irq, level); }) {
  for (uint32_t leaf = 0; leaf < plain_leaves_.size(); ++leaf)
    plain_leaves_[leaf] = cpuid_.get(leaf, 0);
  if (config.local_apic)
    apic_ = std::make_unique<ApicPair>(clock, apic_config(config, cpuid_), pic_);
  pit_.irq.connect([this](bool level) { set_irq(kTimerIrq, level); });
  uart_.irq.connect([this](bool level) { set_irq(kSerialIrq, level); });
  rtc_.irq.connect([this](bool level) { set_irq(kClockIrq, level); });
  rtc_.set_memory_size(memory.size(), 0);
  pic_.edge_level_ports().write(0, 2, kLevelIrqs);
  pci_.set_reset_handler([this] { exits_.ask({chips::ExitRequest::Kind::reset, 0}); });
}

Result<void> PcPlatform::attach_ports() {
  CUPEL_TRY(ports_.attach(0x20, 2, pic_.master_ports(), "8259 master"));
  CUPEL_TRY(ports_.attach(0xa0, 2, pic_.slave_ports(), "8259 slave"));
  CUPEL_TRY(ports_.attach(0x4d0, 2, pic_.edge_level_ports(), "edge/level control"));
  CUPEL_TRY(ports_.attach(0x40, 4, pit_, "8254"));
  CUPEL_TRY(ports_.attach(0x61, 1, port_b_, "system control B"));
  CUPEL_TRY(ports_.attach(0x70, 2, rtc_, "RTC"));
  CUPEL_TRY(ports_.attach(0x3f8, 8, uart_, "16550"));
  CUPEL_TRY(ports_.attach(chips::PciHost::kPort, 8, pci_, "PCI configuration"));
  return exits_.attach(ports_);
}

void PcPlatform::set_irq(unsigned irq, bool level) {
  pic_.set_irq(irq, level);
  if (apic_) apic_->set_irq(irq, level);
}

template <class Device, class... Args>
Result<Device*> PcPlatform::add(Args&&... args) {
  auto device = std::make_unique<Device>(memory_, std::forward<Args>(args)...);
  Device* raw = device.get();
  auto function = std::make_unique<VirtioPci>(std::move(device));
  auto slot = pci_.add(*function);
  if (!slot) return std::move(slot).failure();
  const std::string name =
      "virtio-" + std::string(to_string(raw->type())) + " in slot " + std::to_string(*slot) + ": ";
  raw->set_broken_observer([this, name](const std::string& why) {
    if (on_broken_) on_broken_(name + why);
  });
  devices_.push_back(std::move(function));
  return raw;
}

Result<VirtioBlock*> PcPlatform::add_disk(BlockDevice& disk, VirtioBlock::Options options) {
  return add<VirtioBlock>(disk, std::move(options));
}
Result<VirtioNet*> PcPlatform::add_nic(NetPort& port, MacAddress mac) {
  return add<VirtioNet>(port, mac);
}
Result<VirtioConsole*> PcPlatform::add_console() { return add<VirtioConsole>(); }

void PcPlatform::serial_input(std::string_view text) {
  uart_.queue_input(text);
  deadline_known_ = false;
}

uint32_t PcPlatform::port_in(uint16_t port, unsigned size) {
  deadline_known_ = false;
  return static_cast<uint32_t>(ports_.read(port, size));
}
void PcPlatform::port_out(uint16_t port, unsigned size, uint32_t value) {
  deadline_known_ = false;
  ports_.write(port, size, value);
}

uint64_t PcPlatform::mmio_read(Gpa at, unsigned size) {
  uint64_t value = 0;
  if (apic_ && apic_->mmio_read(at, size, value)) {
    deadline_known_ = false;
    return value & ones(size);
  }
  return pci_.mmio_read(at, size, value) ? value & ones(size) : ones(size);
}

void PcPlatform::mmio_write(Gpa at, unsigned size, uint64_t value) {
  if (apic_ && apic_->mmio_write(at, size, value)) {
    deadline_known_ = false;
  } else {
    pci_.mmio_write(at, size, value & ones(size));
    deadline_known_ = deadline_known_ && !horizon_;  // a request may have been submitted
  }
}

bool PcPlatform::read_msr(uint32_t index, uint64_t& value) {
  if (apic_) {
    if (const auto r = apic_->read_msr(index, value); r.handled) return r.ok;
  } else if (index == x86::msr::APIC_BASE) {
    value = kApicBaseDisabled;
    return true;
  }
  return msrs_.read(index, value);
}

bool PcPlatform::write_msr(uint32_t index, uint64_t value) {
  if (apic_) {
    deadline_known_ = false;
    if (const auto r = apic_->write_msr(index, value); r.handled) return r.ok;
  } else if (index == x86::msr::APIC_BASE) {
    return value == kApicBaseDisabled;
  }
  return msrs_.write(index, value);
}

x86::CpuidLeaf PcPlatform::cpuid(uint32_t leaf, uint32_t subleaf) {
  if (leaf < plain_leaves_.size() && !cpuid_.indexed(leaf)) return plain_leaves_[leaf];
  return cpuid_.get(leaf, subleaf);
}

uint8_t PcPlatform::acknowledge_interrupt() {
  return apic_ ? apic_->acknowledge() : pic_.acknowledge();
}

void PcPlatform::begin_slice(Nanoseconds now) {
  slice_start_ = now;
  slice_ended_ = false;
  deadline_known_ = false;
}

Nanoseconds PcPlatform::horizon() const {
  if (!horizon_) return Nanoseconds::max();
  const Nanoseconds at = horizon_();
  return at > slice_start_ ? at : Nanoseconds::max();
}

void PcPlatform::advance(Nanoseconds now) {
  if (deadline_known_ && now < deadline_) return;
  pit_.advance(now);
  rtc_.advance(now);
  uart_.advance(now);
  if (apic_) apic_->advance(now);
  if (now >= horizon()) slice_ended_ = true;
  deadline_known_ = false;
}

Nanoseconds PcPlatform::next_timer() const {
  const Nanoseconds isa =
      std::min({pit_.next_deadline(), rtc_.next_deadline(), uart_.next_deadline()});
  return apic_ ? std::min(isa, apic_->next_deadline()) : isa;
}

Nanoseconds PcPlatform::next_deadline() {
  if (deadline_known_) return deadline_;
  deadline_ = std::min(next_timer(), horizon());
  deadline_known_ = true;
  return deadline_;
}

void PcPlatform::save(ArchiveWriter& out) const {
  out.section("pc-platform", 1);
  out.put(memory_.size());
  out.put(static_cast<uint8_t>(apic_ != nullptr));
  out.put(static_cast<uint8_t>(devices_.size()));
  msrs_.save(out);
  pic_.save(out);
  pit_.save(out);
  port_b_.save(out);
  rtc_.save(out);
  uart_.save(out);
  if (apic_) apic_->save(out);
  exits_.save(out);
  for (const auto& d : devices_) d->save(out);
  pci_.save(out);
}

Result<void> PcPlatform::restore(ArchiveReader& in) {
  in.section("pc-platform", 1);
  if (in.get<uint64_t>() != memory_.size()) in.note("the VM had another amount of RAM");
  if ((in.get<uint8_t>() != 0) != (apic_ != nullptr))
    in.note("the VM had other interrupt controllers");
  if (in.get<uint8_t>() != devices_.size()) in.note("the VM had another number of devices");
  CUPEL_TRY(in.finish());
  msrs_.restore(in);
  pic_.restore(in);
  pit_.restore(in);
  port_b_.restore(in);
  rtc_.restore(in);
  uart_.restore(in);
  if (apic_) apic_->restore(in);
  exits_.restore(in);
  for (const auto& d : devices_) d->restore(in);
  pci_.restore(in);
  deadline_known_ = false;
  return in.finish();
}

}  // namespace cupel::devices
