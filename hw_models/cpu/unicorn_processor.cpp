#include "hw_models/cpu/unicorn_processor.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "hw_models/cpu/self_check.h"

namespace cupel::cpu {
namespace {

// The engine's own pages, above any machine's memory (at most 1 TiB).
constexpr uint64_t kControlBase = 1ull << 41;
constexpr uint64_t kVmcb = kControlBase, kHostSave = kControlBase + 0x1000,
                   kStartCode = kControlBase + 0x2000, kParkCode = kControlBase + 0x2100,
                   kIoBitmap = kControlBase + 0x4000, kMsrBitmap = kControlBase + 0x8000;
constexpr uint64_t kControlSize = 0x10000;
constexpr uint32_t kTranslationBuffer = 96u << 20;  // address space; touched as needed
constexpr uint64_t kNeverExit = 0xffff800000000001ull;

void interrupt_hook(uc_engine*, uint32_t number, void* self) {
  static_cast<UnicornProcessor*>(self)->on_interrupt_hook(number);
}
// Called at the deadline only, without arguments: see block_counter.h.
void at_deadline(uc_engine*, uint64_t, uint32_t, void*) {
  UnicornProcessor::current()->on_block_deadline(
      reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}

// Offsets count from the end of RAM.
uint64_t mmio_read(uc_engine*, uint64_t offset, unsigned size, void* self) {
  return static_cast<UnicornProcessor*>(self)->bus_read(offset, size);
}
void mmio_write(uc_engine*, uint64_t offset, unsigned size, uint64_t value, void* self) {
  static_cast<UnicornProcessor*>(self)->bus_write(offset, size, value);
}

template <class T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

thread_local UnicornProcessor* UnicornProcessor::current_ = nullptr;

// The way out is one address, and no block; the engine answers it where it must translate first.
bool UnicornProcessor::is_block(const char* code) {
  if (code == way_out_) return false;
  if (way_out_ != nullptr) return true;
  if (tcg_tb_lookup_x86_64(watch_.context, reinterpret_cast<uintptr_t>(code)) != nullptr)
    return true;
  way_out_ = code;
  return false;
}

uint64_t UnicornProcessor::blocks_dropped() const {
  return tcg_tb_phys_invalidate_count_x86_64(watch_.context);
}

void* UnicornProcessor::block_hook() { return reinterpret_cast<void*>(at_deadline); }

Result<std::unique_ptr<Processor>> Processor::create(PhysicalMemory& memory, VirtualClock& clock,
                                                     ProcessorConfig config) {
  CUPEL_TRY(self_check());
  auto cpu = std::make_unique<UnicornProcessor>(memory, clock, std::move(config));
  CUPEL_TRY(cpu->start());
  return std::unique_ptr<Processor>(std::move(cpu));
}

UnicornProcessor::UnicornProcessor(PhysicalMemory& memory, VirtualClock& clock,
                                   ProcessorConfig config)
    : memory_(memory),
      clock_(clock),
      config_(std::move(config)),
      tsc_mhz_(config_.tsc_hz / 1'000'000),
      identity_(memory),
      monitor_(&identity_),
      code_pages_(memory.size() / kPageSize),
      group_(config_.group ? config_.group : make_processor_group()) {
  paging_.physical_bits = config_.profile.physical_bits;
  group_->join(*this);
  if (config_.bus != nullptr) platform_msrs_.emplace(0);
}

UnicornProcessor::~UnicornProcessor() {
  if (fiber_ && !fiber_->finished()) {
    quitting_ = true;
    auto* outer = std::exchange(current_, this);
    fiber_->resume();
    current_ = outer;
  }
  group_->leave(*this);
  if (uc_ != nullptr) uc_close(uc_);
  if (control_ != nullptr) munmap(control_, kControlSize);
}

void UnicornProcessor::set_monitor(Monitor* monitor) {
  monitored_ = monitor != nullptr;
  monitor_ = monitored_ ? monitor : &identity_;
}

Result<void> UnicornProcessor::start() {
  CUPEL_TRY(open_engine());
  prepare_vmcb();
  fiber_ = std::make_unique<Fiber>([this] { engine_loop(); });
  const uint64_t start = clock_.ticks();
  auto* outer = std::exchange(current_, this);
  fiber_->resume();  // through VMRUN to the first trap, where it parks
  current_ = outer;
  clock_.set_ticks(start);  // making a processor takes no virtual time
  if (!parked_once_) {
    return fail(ErrorKind::environment, "the engine did not enter its trap mode (VMRUN)",
                "install libunicorn 2.1.1 as ./cupel setup does");
  }
  set_state(x86::CpuState::after_reset());
  return {};
}

Result<void> UnicornProcessor::open_engine() {
  auto check = [](uc_err e, const char* what) -> Result<void> {
    if (e == UC_ERR_OK) return {};
    return fail(ErrorKind::environment, std::string("libunicorn: ") + what + ": " + uc_strerror(e));
  };
  CUPEL_TRY(check(uc_open(UC_ARCH_X86, UC_MODE_64, &uc_), "uc_open"));
  CUPEL_TRY(check(uc_ctl_set_cpu_model(uc_, UC_CPU_X86_EPYC), "CPU model EPYC"));
  CUPEL_TRY(check(uc_ctl_set_tcg_buffer_size(uc_, kTranslationBuffer), "translation buffer"));
  CUPEL_TRY(check(uc_mem_map_ptr(uc_, 0, memory_.size(), UC_PROT_ALL, memory_.data()), "memory"));
  void* control =
      mmap(nullptr, kControlSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (control == MAP_FAILED)
    return fail(ErrorKind::environment, "cannot map the engine's control pages");
  control_ = static_cast<std::byte*>(control);
  CUPEL_TRY(check(uc_mem_map_ptr(uc_, kControlBase, kControlSize, UC_PROT_ALL, control_),
                  "control pages"));
  if (config_.bus != nullptr) {
    CUPEL_TRY(check(uc_mmio_map(uc_, memory_.size(), kControlBase - memory_.size(), mmio_read, this,
                                mmio_write, this),
                    "device memory"));
  }
  const EngineLocation at = locate_engine(uc_, control_ + (kStartCode - kControlBase), kStartCode);
  if (at.state == nullptr) {
    return fail(ErrorKind::environment, "the engine's state was not found",
                "install libunicorn 2.1.1 as ./cupel setup does");
  }
  engine_ = at.state;
  cpu_object_ = at.cpu_object;
  contexts_.emplace(engine_);
  // The library counts the part of its translation buffer that it uses only from a flush on:
  // without one it takes the full buffer for an empty one and writes over blocks that are still in
  // use.
  tb_flush_x86_64(cpu_object_);
  CUPEL_TRY(check(uc_ctl_exits_enable(uc_), "exits"));
  uc_hook hook = 0;
  CUPEL_TRY(check(
      uc_hook_add(uc_, &hook, UC_HOOK_INTR, reinterpret_cast<void*>(interrupt_hook), this, 1, 0),
      "interrupt hook"));
  return check(uc_hook_add(uc_, &hook, UC_HOOK_BLOCK, block_hook(), this, 1, 0), "block hook");
}

// AMD APM vol. 2, appendix "Layout of VMCB". Everything that can be intercepted is.
void UnicornProcessor::prepare_vmcb() {
  std::byte* vmcb = control_;
  std::memset(control_ + (kIoBitmap - kControlBase), 0xff, 0x3000);
  std::memset(control_ + (kMsrBitmap - kControlBase), 0xff, 0x2000);
  const uint32_t codes[] = {svm::idtr_read,
                            svm::gdtr_read,
                            svm::ldtr_read,
                            svm::tr_read,
                            svm::idtr_write,
                            svm::gdtr_write,
                            svm::ldtr_write,
                            svm::tr_write,
                            svm::rdtsc,
                            svm::rdpmc,
                            svm::cpuid,
                            svm::rsm,
                            svm::software_interrupt,
                            svm::invd,
                            svm::pause,
                            svm::hlt,
                            svm::invlpg,
                            svm::invlpga,
                            svm::io,
                            svm::msr,
                            svm::shutdown,
                            svm::vmrun,
                            svm::vmmcall,
                            svm::vmload,
                            svm::vmsave,
                            svm::stgi,
                            svm::clgi,
                            svm::skinit,
                            svm::rdtscp,
                            svm::icebp,
                            svm::wbinvd,
                            svm::monitor,
                            svm::mwait};
  uint64_t intercepts = 0;
  for (const uint32_t code : codes) intercepts |= 1ull << (code - 0x60);
  put<uint32_t>(vmcb + 0x00, ~0u);  // CR reads and writes
  put<uint32_t>(vmcb + 0x04, ~0u);  // DR reads and writes
  put<uint32_t>(vmcb + 0x08, ~0u);  // exceptions: all, or TCG invents double faults
  put<uint64_t>(vmcb + 0x0c, intercepts);
  put<uint64_t>(vmcb + 0x40, kIoBitmap);
  put<uint64_t>(vmcb + 0x48, kMsrBitmap);
  put<uint32_t>(vmcb + 0x58, 1);  // ASID
  auto segment = [&](size_t offset, uint16_t selector, uint16_t attributes) {
    std::byte* s = vmcb + 0x400 + offset;
    put(s, selector);
    put(s + 2, attributes);
    put<uint32_t>(s + 4, ~0u);
  };
  segment(0x00, 0x18, 0xc93);
  segment(0x10, 0x10, 0xa9b);
  segment(0x20, 0x18, 0xc93);
  segment(0x30, 0x18, 0xc93);
  std::byte* save = vmcb + 0x400;
  put<uint64_t>(save + 0x0d0, 0x1500);      // EFER: SVME LMA LME
  put<uint64_t>(save + 0x148, 0x20);        // CR4: PAE
  put<uint64_t>(save + 0x150, 0);           // CR3: not used, the walk is ours
  put<uint64_t>(save + 0x158, 0x80050033);  // CR0
  put<uint64_t>(save + 0x160, 0x400);       // DR7
  put<uint64_t>(save + 0x168, 0xffff0ff0);  // DR6
  put<uint64_t>(save + 0x170, 2);           // RFLAGS
  put<uint64_t>(save + 0x178, kParkCode);   // RIP
  const uint8_t vmrun[] = {0x0f, 0x01, 0xd8};
  std::memcpy(control_ + (kStartCode - kControlBase), vmrun, sizeof vmrun);
  control_[kParkCode - kControlBase] = std::byte{0xf4};  // HLT
}

void UnicornProcessor::engine_loop() {
  auto write_msr = [this](uint32_t index, uint64_t value) {
    uc_x86_msr msr{index, value};
    uc_reg_write(uc_, UC_X86_REG_MSR, &msr);
  };
  write_msr(0xc0000080, 0x1000 | 0x500);  // EFER.SVME
  write_msr(0xc0010117, kHostSave);       // VM_HSAVE_PA
  uint64_t rax = kVmcb;
  uc_reg_write(uc_, UC_X86_REG_RAX, &rax);
  while (!quitting_) {
    const uint64_t begin = parked_once_ ? engine_->eip : kStartCode;
    const uc_err e = uc_emu_start(uc_, begin, kNeverExit, 0, 0);
    if (!parked_once_) return;
    // The loop is left only on the way out; anything else is an engine failure.
    if (!quitting_ && e != UC_ERR_OK) {
      park_reason_ = Park::shutdown;
      fiber_->suspend();
    }
  }
}

Processor::Park UnicornProcessor::run() {
  auto* outer = std::exchange(current_, this);
  fiber_->resume();
  current_ = outer;
  return park_reason_;
}

void UnicornProcessor::on_interrupt_hook(uint32_t number) {
  if (quitting_) {
    uc_emu_stop(uc_);
    return;
  }
  ++stats_.traps;
  if (!parked_once_) {
    parked_once_ = true;
    fiber_->suspend();
  } else if (number >= kVmexitBase) {
    dispatch(number - kVmexitBase);
  } else {
    trap_exception(number & 31);
  }
  if (!quitting_) settle();
  if (quitting_) uc_emu_stop(uc_);
}

uint64_t UnicornProcessor::bus_read(uint64_t offset, unsigned size) {
  return config_.bus->read(Hpa(memory_.size() + offset), size);
}
void UnicornProcessor::bus_write(uint64_t offset, unsigned size, uint64_t value) {
  config_.bus->write(Hpa(memory_.size() + offset), size, value);
}

uint64_t UnicornProcessor::host_tsc() const {
  if (config_.tsc_hz == 1'000'000'000) return clock_.ticks() / VirtualClock::kTicksPerNanosecond;
  // ticks * hz / 4e9 without overflow: whole seconds first.
  constexpr uint64_t kTicksPerSecond = VirtualClock::kTicksPerNanosecond * 1'000'000'000ull;
  const uint64_t seconds = clock_.ticks() / kTicksPerSecond,
                 rest = clock_.ticks() % kTicksPerSecond;
  return seconds * config_.tsc_hz + rest * tsc_mhz_ / (kTicksPerSecond / 1'000'000);
}

}  // namespace cupel::cpu
