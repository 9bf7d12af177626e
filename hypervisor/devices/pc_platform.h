// The virtual PC around one vCPU: chips, PCI, virtio devices, MSRs, CPUID.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/block_device.h"
#include "core/chips/exit_ports.h"
#include "core/chips/pci.h"
#include "core/chips/pic8259.h"
#include "core/chips/pit8254.h"
#include "core/chips/rtc146818.h"
#include "core/chips/uart16550.h"
#include "core/clock.h"
#include "core/guest_memory.h"
#include "core/net_port.h"
#include "core/x86/cpuid.h"
#include "core/x86/platform_msrs.h"
#include "hypervisor/devices/apic_pair.h"
#include "hypervisor/devices/virtio_block.h"
#include "hypervisor/devices/virtio_console.h"
#include "hypervisor/devices/virtio_net.h"
#include "hypervisor/devices/virtio_pci.h"
#include "hypervisor/vm/guest_platform.h"

namespace cupel::devices {

struct PcConfig {
  uint64_t tsc_hz = 1'000'000'000;
  int64_t start_epoch = 1'767'225'600;  // time of day at virtual time 0: 2026-01-01 00:00 UTC
  bool local_apic = false;              // local APIC and I/O APIC; off: the 8259 pair alone
  uint64_t arch_capabilities = 0;       // IA32_ARCH_CAPABILITIES for the guest; 0: not there
};

// Ports: 0x20/0xa0/0x4d0 8259 pair, 0x40 8254, 0x61, 0x70 RTC, 0x3f8 16550 at IRQ 4, 0xcf8 PCI, and
// ExitPorts. Memory: PCI BARs from 0xe0000000, optionally the APICs. No ACPI.
//
// Devices are added before the guest runs, in the order of their PCI slots. Their completions may
// come from the event queue between runs of the vCPU: an interrupt they raise shows in
// interrupt_pending() at once.
class PcPlatform final : public vm::GuestPlatform {
 public:
  // `memory` and `clock` are borrowed. `host` is the CPUID of the processor that will run the
  // guest. Errors: bad_input for an impossible RAM size.
  static Result<std::unique_ptr<PcPlatform>> create(const VirtualClock& clock, GuestMemory& memory,
                                                    const x86::CpuidTable& host, PcConfig config);

  // Errors: bad_input when all PCI slots are taken. Disk, port and observer are borrowed.
  Result<VirtioBlock*> add_disk(BlockDevice& disk, VirtioBlock::Options options);
  Result<VirtioNet*> add_nic(NetPort& port, MacAddress mac);
  Result<VirtioConsole*> add_console();

  // What the guest sends over its serial port.
  void set_serial_sink(chips::Uart16550::Sink sink) { uart_.set_sink(std::move(sink)); }
  // What is typed at it; waits for room, never lost.
  void serial_input(std::string_view text);
  size_t serial_input_waiting() const { return uart_.queued_input(); }
  // Hears of every device whose driver broke a rule: "virtio-block in slot 1: <why>".
  void set_broken_observer(std::function<void(const std::string&)> observer) {
    on_broken_ = std::move(observer);
  }
  // The time of the next event outside this VM. The guest's own requests make such events (a disk
  // completes, a frame arrives): one that comes up inside a slice ends it, at its exact time, by
  // stop_requested() without an exit_request(). Events already due when the slice began do not.
  using Horizon = std::function<Nanoseconds()>;
  void set_horizon(Horizon horizon) { horizon_ = std::move(horizon); }
  void begin_slice(Nanoseconds now);
  bool slice_ended() const { return slice_ended_; }
  // The next timer of the chips, without the horizon.
  Nanoseconds next_timer() const;

  const chips::ExitRequest& exit_request() const { return exits_.request(); }
  const x86::CpuidTable& cpuid_table() const { return cpuid_; }
  VirtioPci& device(size_t i) { return *devices_[i]; }
  size_t device_count() const { return devices_.size(); }
  chips::DualPic8259& pic() { return pic_; }

  uint32_t port_in(uint16_t port, unsigned size) override;
  void port_out(uint16_t port, unsigned size, uint32_t value) override;
  uint64_t mmio_read(Gpa at, unsigned size) override;
  void mmio_write(Gpa at, unsigned size, uint64_t value) override;
  bool read_msr(uint32_t index, uint64_t& value) override;
  bool write_msr(uint32_t index, uint64_t value) override;
  x86::CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) override;
  bool interrupt_pending() override { return apic_ ? apic_->pending() : pic_.pending(); }
  uint8_t acknowledge_interrupt() override;
  bool take_nmi() override { return apic_ && apic_->take_nmi(); }
  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() override;
  bool stop_requested() const override { return exits_.requested() || slice_ended_; }

  // RAM must be restored first, and the same devices added. Requests in flight are submitted again
  // (see VirtioBlock).
  void save(ArchiveWriter& out) const;
  Result<void> restore(ArchiveReader& in);

 private:
  PcPlatform(const VirtualClock& clock, GuestMemory& memory, const x86::CpuidTable& host,
             PcConfig config);
  Result<void> attach_ports();
  void set_irq(unsigned irq, bool level);
  Nanoseconds horizon() const;
  template <class Device, class... Args>
  Result<Device*> add(Args&&... args);

  GuestMemory& memory_;
  x86::CpuidTable cpuid_;
  std::array<x86::CpuidLeaf, 32> plain_leaves_{};  // basic leaves without subleaves, for speed
  x86::PlatformMsrs msrs_;
  Bus ports_{"port"};
  chips::DualPic8259 pic_;
  chips::Pit8254 pit_;
  chips::SystemControlPortB port_b_;
  chips::Rtc146818 rtc_;
  chips::Uart16550 uart_;
  std::unique_ptr<ApicPair> apic_;
  chips::ExitPorts exits_;
  chips::PciHost pci_;
  std::vector<std::unique_ptr<VirtioPci>> devices_;
  std::function<void(const std::string&)> on_broken_;
  Horizon horizon_;
  Nanoseconds slice_start_;
  bool slice_ended_ = false;
  // The earliest deadline of chips and horizon, until something may have moved it.
  Nanoseconds deadline_;
  bool deadline_known_ = false;
};

}  // namespace cupel::devices
