#include "hw_models/cpu/self_check.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstring>
#include <optional>
#include <string>

#include "core/x86/msr.h"
#include "core/x86/registers.h"
#include "hw_models/cpu/translation_contexts.h"

namespace cupel::cpu {
namespace {

constexpr uint64_t kScratch = 0x10000;  // guest-physical page the probes run in
constexpr size_t kScratchSize = 0x20000;
constexpr uint32_t kProbePort = 0x5aa5;

// What the corrections tell while a probe runs on this thread.
thread_local bool probing = false;
thread_local bool probing_io = false;
thread_local void* seen_environment = nullptr;
thread_local void* seen_cpu = nullptr;

EngineLayout layout;

Failure<Error> unknown_library(const std::string& what) {
  unsigned major = 0, minor = 0;
  uc_version(&major, &minor);
  return fail(ErrorKind::environment,
              "this libunicorn (" + std::to_string(major) + "." + std::to_string(minor) +
                  ") is not the one Cupel knows: " + what,
              "install libunicorn 2.1.1 from Debian (./cupel setup does it)");
}

// An engine with a little memory, closed at the end of the check.
class ScratchEngine {
 public:
  ScratchEngine() {
    memory_ = static_cast<uint8_t*>(
        mmap(nullptr, kScratchSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) return;
    if (uc_open(UC_ARCH_X86, UC_MODE_64, &uc_) != UC_ERR_OK) return;
    good_ = uc_ctl_set_cpu_model(uc_, UC_CPU_X86_EPYC) == UC_ERR_OK &&
            uc_ctl_set_tcg_buffer_size(uc_, 4u << 20) == UC_ERR_OK &&
            uc_mem_map_ptr(uc_, 0, kScratchSize, UC_PROT_ALL, memory_) == UC_ERR_OK;
  }
  ~ScratchEngine() {
    if (uc_ != nullptr) uc_close(uc_);
    if (memory_ != MAP_FAILED) munmap(memory_, kScratchSize);
  }
  ScratchEngine(const ScratchEngine&) = delete;
  ScratchEngine& operator=(const ScratchEngine&) = delete;
  bool good() const { return good_; }
  uc_engine* uc() const { return uc_; }
  uint8_t* memory() const { return memory_; }

 private:
  uc_engine* uc_ = nullptr;
  uint8_t* memory_ = nullptr;
  bool good_ = false;
};

bool registers_match(uc_engine* uc, const EngineState& state) {
  const int ids[16] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                       UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                       UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                       UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
  for (unsigned i = 0; i < 16; ++i) {
    const uint64_t value = 0xabcd000012340000ull + i * 0x1111;
    uc_reg_write(uc, ids[i], &value);
    if (state.gpr[i] != value) return false;
  }
  uint64_t rip = 0x123456, flags = 0xad7;
  uc_reg_write(uc, UC_X86_REG_RIP, &rip);
  uc_reg_write(uc, UC_X86_REG_EFLAGS, &flags);
  return state.eip == rip && state.cc_op == kCcOpEflags &&
         (state.cc_src & 0x8d5) == (flags & 0x8d5);
}

bool tables_match(uc_engine* uc, const EngineState& state) {
  uc_x86_mmr gdt{0, 0x1122334455660000ull, 0x1234, 0}, idt{0, 0x2233445566770000ull, 0x2345, 0};
  uc_reg_write(uc, UC_X86_REG_GDTR, &gdt);
  uc_reg_write(uc, UC_X86_REG_IDTR, &idt);
  uint64_t fs = 0x3344556677880000ull, gs = 0x4455667788990000ull;
  uc_reg_write(uc, UC_X86_REG_FS_BASE, &fs);
  uc_reg_write(uc, UC_X86_REG_GS_BASE, &gs);
  uint64_t cr4 = 0;
  uc_reg_read(uc, UC_X86_REG_CR4, &cr4);
  return state.gdt.base == gdt.base && state.gdt.limit == gdt.limit && state.idt.base == idt.base &&
         state.idt.limit == idt.limit && state.seg[4].base == fs && state.seg[5].base == gs &&
         state.cr[4] == cr4 && (state.hflags & hf::cs64) != 0;
}

// The one place in the state block that holds `value`; nullopt when there is none or several.
template <class T>
std::optional<size_t> find_unique(const EngineState& state, size_t size, T value, size_t step) {
  const char* base = reinterpret_cast<const char*>(&state);
  std::optional<size_t> found;
  for (size_t at = sizeof(EngineState); at + sizeof(T) <= size; at += step) {
    T here;
    std::memcpy(&here, base + at, sizeof here);
    if (here != value) continue;
    if (found) return std::nullopt;
    found = at;
  }
  return found;
}

Result<void> find_msrs(uc_engine* uc, const EngineState& state, size_t size) {
  struct Row {
    uint32_t msr;
    uint64_t value;
    size_t EngineLayout::*offset;
  };
  const Row rows[] = {
      {x86::msr::STAR, 0x0023001011220033ull, &EngineLayout::star},
      {x86::msr::LSTAR, 0x00007a5a11110001ull, &EngineLayout::lstar},
      {x86::msr::CSTAR, 0x00007a5a22220002ull, &EngineLayout::cstar},
      {x86::msr::FMASK, 0x0000000077a5a5f3ull, &EngineLayout::fmask},
      {x86::msr::KERNEL_GS_BASE, 0x00007a5a44440004ull, &EngineLayout::kernel_gs_base},
      {x86::msr::SYSENTER_ESP, 0x00007a5a55550005ull, &EngineLayout::sysenter_esp},
      {x86::msr::SYSENTER_EIP, 0x00007a5a66660006ull, &EngineLayout::sysenter_eip}};
  for (const Row& row : rows) {
    uc_x86_msr msr{row.msr, row.value};
    uc_reg_write(uc, UC_X86_REG_MSR, &msr);
    const auto at = find_unique<uint64_t>(state, size, row.value, 8);
    if (!at) return unknown_library("MSR " + std::to_string(row.msr) + " is not where it was");
    layout.*row.offset = *at;
  }
  uc_x86_msr cs{x86::msr::SYSENTER_CS, 0xa5c3};
  uc_reg_write(uc, UC_X86_REG_MSR, &cs);
  const auto cs_at = find_unique<uint32_t>(state, size, 0xa5c3, 4);
  if (!cs_at || *cs_at + 4 > layout.sysenter_esp)
    return unknown_library("SYSENTER_CS is not where it was");
  layout.sysenter_cs = *cs_at;
  // EFER: in 64-bit mode the engine starts with LMA and LME; setting SCE and NXE makes it unique.
  uc_x86_msr efer{x86::msr::EFER, 0};
  uc_reg_read(uc, UC_X86_REG_MSR, &efer);
  efer.value |= x86::efer::SCE | x86::efer::NXE | 0x1000;
  uc_reg_write(uc, UC_X86_REG_MSR, &efer);
  uc_reg_read(uc, UC_X86_REG_MSR, &efer);
  if ((efer.value & 0x1000) == 0) return unknown_library("EFER.SVME cannot be set");
  const auto efer_at = find_unique<uint64_t>(state, size, efer.value, 8);
  if (!efer_at) return unknown_library("EFER is not where it was");
  layout.efer = *efer_at;
  return {};
}

struct ErrorCodeProbe {
  const EngineState* state;
  size_t size;
  std::optional<size_t> offset;
};

void error_code_hook(uc_engine* uc, uint32_t number, void* user) {
  auto* probe = static_cast<ErrorCodeProbe*>(user);
  if (number == kVmexitBase + svm::io)
    probe->offset = find_unique<uint32_t>(*probe->state, probe->size, kProbePort << 16 | 1 << 4, 4);
  uc_emu_stop(uc);
}

// OUT to a distinctive port arrives as an I/O exit whose information is the error code.
Result<void> find_error_code(const ScratchEngine& scratch, const EngineState& state, size_t size) {
  ErrorCodeProbe probe{&state, size, {}};
  uc_hook hook = 0;
  uc_hook_add(scratch.uc(), &hook, UC_HOOK_INTR, reinterpret_cast<void*>(error_code_hook), &probe,
              1, 0);
  const uint8_t code[] = {0x66, 0xba, 0xa5, 0x5a, 0xee, 0xf4};  // mov dx, 0x5aa5; out dx, al; hlt
  std::memcpy(scratch.memory() + kScratch + 0x100, code, sizeof code);
  uc_ctl_remove_cache(scratch.uc(), kScratch, kScratch + 0x1000);
  uc_emu_start(scratch.uc(), kScratch + 0x100, kScratch + 0x105, 0, 0);
  if (!probe.offset) return unknown_library("the I/O correction is not in force");
  layout.error_code = *probe.offset;
  return {};
}

Result<void> check_once() {
  const ScratchEngine scratch;
  if (!scratch.good()) return unknown_library("an engine of CPU model EPYC cannot be made");
  const EngineLocation at = locate_engine(scratch.uc(), scratch.memory() + kScratch, kScratch);
  if (at.state == nullptr)
    return unknown_library("its IN instruction or address translation does not reach ours");
  const auto offset = reinterpret_cast<char*>(at.state) - static_cast<char*>(at.cpu_object);
  const size_t usable = malloc_usable_size(at.cpu_object);
  if (offset < 0 || static_cast<size_t>(offset) + sizeof(EngineState) > usable)
    return unknown_library("its state block lies elsewhere");
  const size_t size = usable - static_cast<size_t>(offset);
  if (!registers_match(scratch.uc(), *at.state))
    return unknown_library("its general registers have another layout");
  if (!TranslationContexts::layout_known(at.state))
    return unknown_library("its translation tables have another layout");
  if (!tables_match(scratch.uc(), *at.state))
    return unknown_library("its segment or control registers have another layout");
  probing = true;
  auto found = find_error_code(scratch, *at.state, size);
  if (found.ok()) found = find_msrs(scratch.uc(), *at.state, size);
  probing = false;
  return found;
}

}  // namespace

bool note_environment(void* env) {
  if (!probing_io) return false;
  seen_environment = env;
  return true;
}

bool note_cpu_object(void* cpu) {
  if (!probing) return false;
  seen_cpu = cpu;
  return true;
}

EngineLocation locate_engine(uc_engine* uc, void* scratch, uint64_t at) {
  *static_cast<uint8_t*>(scratch) = 0xec;  // in al, dx
  seen_environment = seen_cpu = nullptr;
  probing = probing_io = true;
  const uc_err e = uc_emu_start(uc, at, at + 1, 0, 0);
  probing = probing_io = false;
  if (e != UC_ERR_OK || seen_environment == nullptr || seen_cpu == nullptr) return {};
  return {static_cast<EngineState*>(seen_environment), seen_cpu};
}

Result<void> self_check() {
  static const std::optional<Error> failed = []() -> std::optional<Error> {
    auto r = check_once();
    if (r.ok()) return std::nullopt;
    return r.error();
  }();
  if (failed) return Failure<Error>(*failed);
  return {};
}

const EngineLayout& engine_layout() { return layout; }

}  // namespace cupel::cpu
