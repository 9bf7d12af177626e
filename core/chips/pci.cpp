#include "core/chips/pci.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace cupel::chips {
namespace {

// Offsets of the type-0 header. PCI 3.0, "Configuration Space Organization".
constexpr unsigned kCommand = 0x04, kStatus = 0x06, kRevision = 0x08, kBar0 = 0x10,
                   kSubsystemVendor = 0x2c, kSubsystem = 0x2e, kCapabilities = 0x34,
                   kInterruptLine = 0x3c, kInterruptPin = 0x3d;
constexpr uint16_t kMemorySpace = 1 << 1, kBusMaster = 1 << 2, kInterruptDisable = 1 << 10;
constexpr uint16_t kInterruptStatus = 1 << 3, kCapabilityList = 1 << 4;

constexpr PciFunction::Identity kBridge{
    .vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000};  // 440FX

constexpr std::array<unsigned, 4> kRoute{10, 11, 9, 5};  // ISA IRQ of slots 1, 2, 3, 4, 5 ...

constexpr uint32_t ones(unsigned size) { return size >= 4 ? ~0u : (1u << (8 * size)) - 1; }

}  // namespace

PciFunction::PciFunction(const Identity& id) {
  set_raw(0x00, 2, id.vendor);
  set_raw(0x02, 2, id.device);
  set_raw(kRevision, 4, id.class_code << 8 | id.revision);
  set_raw(kSubsystemVendor, 2, id.subsystem_vendor);
  set_raw(kSubsystem, 2, id.subsystem);
  writable_[kCommand] = kMemorySpace | kBusMaster;
  writable_[0x0c] = 0xff;  // Cache Line Size
  writable_[0x0d] = 0xff;  // Latency Timer
  if (id.interrupt) {
    value_[kInterruptPin] = 1;
    writable_[kInterruptLine] = 0xff;
    writable_[kCommand + 1] = kInterruptDisable >> 8;
  }
}

uint32_t PciFunction::raw(unsigned offset, unsigned size) const {
  uint32_t v = 0;
  for (unsigned i = 0; i < size; ++i) v |= static_cast<uint32_t>(value_[offset + i]) << (8 * i);
  return v;
}

void PciFunction::set_raw(unsigned offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) value_[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}

uint32_t PciFunction::config_read(unsigned offset, unsigned size) { return raw(offset, size); }

void PciFunction::config_write(unsigned offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; ++i) {
    const uint8_t mask = writable_[offset + i];
    uint8_t& at = value_[offset + i];
    at = static_cast<uint8_t>((at & ~mask) | (static_cast<uint8_t>(value >> (8 * i)) & mask));
  }
  if (offset < kBar0 + 4 * kBars) {
    if (decode_changed_) decode_changed_();
    if (wires_changed_) wires_changed_();
  }
}

uint64_t PciFunction::bar_read(unsigned, uint64_t, unsigned) { return ~0ull; }
void PciFunction::bar_write(unsigned, uint64_t, unsigned, uint64_t) {}

Gpa PciFunction::bar_address(unsigned bar) const {
  return Gpa(raw(kBar0 + 4 * bar, 4) & ~(bar_size_[bar] - 1));
}
bool PciFunction::decodes_memory() const { return (raw(kCommand, 2) & kMemorySpace) != 0; }

bool PciFunction::intx_level() const {
  return (raw(kStatus, 2) & kInterruptStatus) != 0 && (raw(kCommand, 2) & kInterruptDisable) == 0;
}

void PciFunction::place_bar(unsigned bar, Gpa at) {
  set_raw(kBar0 + 4 * bar, 4, static_cast<uint32_t>(at.value()));
  set_raw(kCommand, 2, raw(kCommand, 2) | kMemorySpace);
}
void PciFunction::set_interrupt_line(uint8_t irq) {
  if (value_[kInterruptPin] != 0) value_[kInterruptLine] = irq;
}

void PciFunction::add_memory_bar(unsigned bar, uint32_t size) {
  assert(bar < kBars && std::has_single_bit(size) && size >= 16);
  bar_size_[bar] = size;
  const uint32_t mask = ~(size - 1);
  for (unsigned i = 0; i < 4; ++i)
    writable_[kBar0 + 4 * bar + i] = static_cast<uint8_t>(mask >> (8 * i));
}

unsigned PciFunction::add_capability(uint8_t id, std::span<const uint8_t> body) {
  const unsigned at = next_capability_;
  assert(at + 2 + body.size() <= value_.size());
  value_[last_link_] = static_cast<uint8_t>(at);
  value_[at] = id;
  std::copy(body.begin(), body.end(), value_.begin() + at + 2);
  last_link_ = at + 1;
  next_capability_ = static_cast<unsigned>((at + 2 + body.size() + 3) & ~size_t{3});
  set_raw(kStatus, 2, raw(kStatus, 2) | kCapabilityList);
  return at;
}

void PciFunction::make_writable(unsigned offset, unsigned size) {
  std::fill_n(writable_.begin() + offset, size, uint8_t{0xff});
}

void PciFunction::set_interrupt(bool asserted) {
  const uint32_t status = raw(kStatus, 2);
  set_raw(kStatus, 2, asserted ? status | kInterruptStatus : status & ~uint32_t{kInterruptStatus});
  if (wires_changed_) wires_changed_();
}

void PciFunction::save(ArchiveWriter& out) const {
  out.put(value_);
  out.put(static_cast<uint8_t>((raw(kStatus, 2) & kInterruptStatus) != 0));
}

void PciFunction::restore(ArchiveReader& in) {
  const auto saved = in.get<std::array<uint8_t, 256>>();
  const bool asserted = in.get<uint8_t>() != 0;
  for (unsigned i = 0; i < saved.size(); ++i)
    value_[i] = static_cast<uint8_t>((value_[i] & ~writable_[i]) | (saved[i] & writable_[i]));
  const uint32_t status = raw(kStatus, 2);
  set_raw(kStatus, 2, asserted ? status | kInterruptStatus : status & ~uint32_t{kInterruptStatus});
}

PciHost::PciHost(InterruptSink sink) : sink_(std::move(sink)), bridge_(kBridge) {
  slots_.push_back(&bridge_);
}

unsigned PciHost::irq_of_slot(unsigned slot) { return kRoute[(slot + 3) % 4]; }

Result<unsigned> PciHost::add(PciFunction& function) {
  const unsigned slot = static_cast<unsigned>(slots_.size());
  if (slot >= kSlots) {
    return fail(ErrorKind::bad_input, "no free PCI slot: a VM has 31 of them",
                "give the VM fewer disks and network cards");
  }
  for (unsigned bar = 0; bar < PciFunction::kBars; ++bar) {
    const uint64_t size = function.bar_size(bar);
    if (size == 0) continue;
    next_address_ = (next_address_ + size - 1) & ~(size - 1);
    assert(next_address_ + size <= kMemoryEnd);
    function.place_bar(bar, Gpa(next_address_));
    next_address_ += std::max(size, kPageSize);
  }
  function.set_interrupt_line(static_cast<uint8_t>(irq_of_slot(slot)));
  function.wires_changed_ = [this] { update_interrupts(); };
  function.decode_changed_ = [this] { rebuild_windows(); };
  slots_.push_back(&function);
  rebuild_windows();
  return slot;
}

// CONFIG_ADDRESS: bit 31 enable, 23:16 bus, 15:11 device, 10:8 function, 7:2 register.
PciFunction* PciHost::selected() const {
  if ((address_ >> 31) == 0 || (address_ >> 16 & 0xff) != 0 || (address_ >> 8 & 7) != 0)
    return nullptr;
  const unsigned slot = address_ >> 11 & 0x1f;
  return slot < slots_.size() ? slots_[slot] : nullptr;
}

uint64_t PciHost::read(uint64_t offset, unsigned size) {
  if (offset >= 4) {
    const unsigned at = (address_ & 0xfc) + static_cast<unsigned>(offset & 3);
    PciFunction* f = selected();
    return f == nullptr || size > 4 || (offset & 3) + size > 4 ? ones(size)
                                                               : f->config_read(at, size);
  }
  if (offset == 0 && size == 4) return address_;
  if (offset == 1 && size == 1) return reset_control_;
  return ones(size);
}

void PciHost::write(uint64_t offset, unsigned size, uint64_t value) {
  const auto v = static_cast<uint32_t>(value);
  if (offset >= 4) {
    const unsigned at = (address_ & 0xfc) + static_cast<unsigned>(offset & 3);
    if (PciFunction* f = selected(); f != nullptr && size <= 4 && (offset & 3) + size <= 4)
      f->config_write(at, size, v);
  } else if (offset == 0 && size == 4) {
    address_ = v & 0x80fffffc;
  } else if (offset == 1 && size == 1) {
    // 82371AB, "Reset Control Register": bit 2 going to 1 resets.
    const bool reset = (v & 4) != 0 && (reset_control_ & 4) == 0;
    reset_control_ = v & 6;
    if (reset && on_reset_) on_reset_();
  }
}

const PciHost::Window* PciHost::find(Gpa at, unsigned size) const {
  for (const Window& w : windows_) {
    const uint64_t offset = at.value() - w.start;
    if (at.value() >= w.start && offset < w.size && size <= w.size - offset) return &w;
  }
  return nullptr;
}

bool PciHost::mmio_read(Gpa at, unsigned size, uint64_t& value) {
  const Window* w = find(at, size);
  if (w == nullptr) return false;
  value = w->function->bar_read(w->bar, at.value() - w->start, size);
  return true;
}

bool PciHost::mmio_write(Gpa at, unsigned size, uint64_t value) {
  const Window* w = find(at, size);
  if (w == nullptr) return false;
  // A copy: the write may move this very window.
  const Window target = *w;
  target.function->bar_write(target.bar, at.value() - target.start, size, value);
  return true;
}

void PciHost::rebuild_windows() {
  windows_.clear();
  for (PciFunction* f : slots_) {
    for (unsigned bar = 0; bar < PciFunction::kBars; ++bar) {
      if (f->bar_size(bar) != 0 && f->decodes_memory())
        windows_.push_back({f->bar_address(bar).value(), f->bar_size(bar), f, bar});
    }
  }
}

void PciHost::update_interrupts() {
  std::array<bool, 16> level{};
  for (unsigned slot = 1; slot < slots_.size(); ++slot)
    level[irq_of_slot(slot)] |= slots_[slot]->intx_level();
  for (unsigned irq = 0; irq < level.size(); ++irq) {
    if (level[irq] == irq_level_[irq]) continue;
    irq_level_[irq] = level[irq];
    if (sink_) sink_(irq, level[irq]);
  }
}

void PciHost::save(ArchiveWriter& out) const {
  out.section("pci-host", 1);
  out.put(address_);
  out.put(reset_control_);
  bridge_.save(out);
}

void PciHost::restore(ArchiveReader& in) {
  in.section("pci-host", 1);
  in.get(address_);
  address_ &= 0x80fffffc;
  in.get(reset_control_);
  bridge_.restore(in);
  rebuild_windows();
  // The interrupt controller has these levels in its own archive: saying them again makes no edge,
  // and it hears of what changed in between.
  irq_level_.fill(false);
  for (unsigned slot = 1; slot < slots_.size(); ++slot)
    irq_level_[irq_of_slot(slot)] |= slots_[slot]->intx_level();
  for (const unsigned irq : kRoute)
    if (sink_) sink_(irq, irq_level_[irq]);
}

}  // namespace cupel::chips
