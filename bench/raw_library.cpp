#include "bench/raw_library.h"

#include <sys/mman.h>

#include <cstring>

#include "bench/figure.h"

namespace cupel::bench {
namespace {

constexpr uint64_t kMemory = 1 << 20;
constexpr uint64_t kVmcb = 0x1000, kSave = 0x2000, kStart = 0x3000, kLoop = 0x4000,
                   kTables = 0x5000, kIo = 0x8000, kMsrs = 0xc000;
constexpr uint32_t kCpuidTrap = 0x100 + 0x72;

}  // namespace

Result<std::unique_ptr<RawLibrary>> RawLibrary::create() {
  std::unique_ptr<RawLibrary> raw(new RawLibrary);
  CUPEL_TRY(raw->open());
  raw->prepare();
  return raw;
}

RawLibrary::~RawLibrary() {
  quitting_ = true;
  if (fiber_ && !fiber_->finished()) fiber_->resume();
  if (uc_ != nullptr) uc_close(uc_);
  if (memory_ != nullptr) munmap(memory_, kMemory);
}

Result<void> RawLibrary::open() {
  void* memory = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(ErrorKind::environment, "no memory for the bare engine");
  memory_ = static_cast<std::byte*>(memory);
  uc_hook hook = 0;
  const bool good = uc_open(UC_ARCH_X86, UC_MODE_64, &uc_) == UC_ERR_OK &&
                    uc_ctl_set_cpu_model(uc_, UC_CPU_X86_EPYC) == UC_ERR_OK &&
                    uc_ctl_set_tcg_buffer_size(uc_, 4u << 20) == UC_ERR_OK &&
                    uc_mem_map_ptr(uc_, 0, kMemory, UC_PROT_ALL, memory_) == UC_ERR_OK &&
                    uc_ctl_exits_enable(uc_) == UC_ERR_OK &&
                    uc_hook_add(uc_, &hook, UC_HOOK_INTR, reinterpret_cast<void*>(on_trap), this, 1,
                                0) == UC_ERR_OK;
  if (!good) return fail(ErrorKind::environment, "the bare engine cannot be made");
  return {};
}

// AMD APM vol. 2, appendix "Layout of VMCB".
void RawLibrary::prepare() {
  auto put = [this](uint64_t at, auto value) { std::memcpy(memory_ + at, &value, sizeof value); };
  auto segment = [&](uint64_t offset, uint16_t selector, uint16_t attributes) {
    put(kVmcb + 0x400 + offset, selector);
    put(kVmcb + 0x402 + offset, attributes);
    put(kVmcb + 0x404 + offset, ~0u);
  };
  put(kTables, kTables + 0x1003);         // PML4
  put(kTables + 0x1000, uint64_t{0x83});  // 1 GiB, identity
  put(kVmcb + 0x08, ~0u);                 // exceptions
  put(kVmcb + 0x0c, uint64_t{1} << (0x72 - 0x60) | uint64_t{1} << (0x80 - 0x60));
  put(kVmcb + 0x40, kIo);
  put(kVmcb + 0x48, kMsrs);
  put(kVmcb + 0x58, uint32_t{1});
  segment(0x00, 0x18, 0xc93);
  segment(0x10, 0x10, 0xa9b);
  segment(0x20, 0x18, 0xc93);
  segment(0x30, 0x18, 0xc93);
  const uint64_t save = kVmcb + 0x400;
  put(save + 0x0d0, uint64_t{0x1500});
  put(save + 0x148, uint64_t{0x20});
  put(save + 0x150, kTables);
  put(save + 0x158, uint64_t{0x80050033});
  put(save + 0x160, uint64_t{0x400});
  put(save + 0x168, uint64_t{0xffff0ff0});
  put(save + 0x170, uint64_t{2});
  put(save + 0x178, kLoop);
  const uint8_t vmrun[] = {0x0f, 0x01, 0xd8};
  std::memcpy(memory_ + kStart, vmrun, sizeof vmrun);
  const uint8_t loop[] = {0x0f, 0xa2, 0xeb, 0xfc};  // cpuid; jmp back
  std::memcpy(memory_ + kLoop, loop, sizeof loop);
  fiber_ = std::make_unique<cpu::Fiber>([this] {
    uc_x86_msr efer{0xc0000080, 0x1500}, area{0xc0010117, kSave};
    uc_reg_write(uc_, UC_X86_REG_MSR, &efer);
    uc_reg_write(uc_, UC_X86_REG_MSR, &area);
    uint64_t rax = kVmcb;
    uc_reg_write(uc_, UC_X86_REG_RAX, &rax);
    failed_ = uc_emu_start(uc_, kStart, 0xffff800000000001ull, 0, 0) != UC_ERR_OK || !quitting_;
  });
}

void RawLibrary::step() {
  uint64_t rip = 0;
  uc_reg_read(uc_, UC_X86_REG_RIP, &rip);
  rip += 2;
  uc_reg_write(uc_, UC_X86_REG_RIP, &rip);
}

void RawLibrary::on_trap(uc_engine* uc, uint32_t number, void* self) {
  auto& raw = *static_cast<RawLibrary*>(self);
  raw.failed_ |= number != kCpuidTrap;
  if (!raw.switching_ && raw.left_ > 0) {
    --raw.left_;
    return raw.step();
  }
  raw.fiber_->suspend();
  if (raw.quitting_ || raw.failed_) {
    uc_emu_stop(uc);
  } else if (!raw.switching_) {
    raw.step();
  }
}

Result<double> RawLibrary::trap_cost(unsigned count) {
  switching_ = false;
  left_ = count;
  const double start = processor_seconds();
  fiber_->resume();
  const double cost = (processor_seconds() - start) * 1e9 / count;
  if (failed_) return fail(ErrorKind::environment, "the bare engine does not run its loop");
  return cost;
}

Result<double> RawLibrary::fiber_trip_cost(unsigned count) {
  CUPEL_TRY(trap_cost(1));
  switching_ = true;
  const double start = processor_seconds();
  for (unsigned n = 0; n < count && !failed_; ++n) {
    step();
    fiber_->resume();
  }
  if (failed_) return fail(ErrorKind::environment, "the bare engine does not run its loop");
  return (processor_seconds() - start) * 1e9 / count;
}

}  // namespace cupel::bench
