// The workload guest. Its first line on the console is "WORKLOAD up mode=<mode>"; it ends through
// port 0xf4 with a value of enum Exit.
#include "scenarios/guests/workload/config.h"
#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/interrupts.h"
#include "scenarios/guests/workload/modes.h"

namespace workload {
namespace {

// Xen "x86/HVM direct boot ABI": struct hvm_start_info.
struct StartInfo {
  static constexpr uint32_t kMagic = 0x336ec578;
  uint32_t magic, version, flags, module_count;
  uint64_t modules, command_line, acpi_rsdp, memory_map;
};

const char* command_line(const StartInfo* info) {
  if (info == nullptr || info->magic != StartInfo::kMagic || info->command_line == 0) return "";
  return reinterpret_cast<const char*>(info->command_line);
}

[[noreturn]] void run(const Config& config) {
  if (config.mode_is("record")) {
    run_record(config);
    print("WORKLOAD done\n");
    leave(Exit::ok);
  }
  if (config.mode_is("hello")) {
    print("WORKLOAD hello\n");
    leave(Exit::ok);
  }
  if (run_bench(config) || run_hostile(config)) leave(Exit::ok);
  print_all("WORKLOAD error: unknown mode=", static_cast<const char*>(config.mode),
            " (record hello cpuid pio mmio msr hlt spin mips triple cli-spin garbage-rings)\n");
  leave(Exit::usage);
}

}  // namespace
}  // namespace workload

extern "C" [[noreturn]] void workload_main(const void* start_info) {
  using namespace workload;
  console_init();
  interrupts_init();
  Config config;
  const char* bad_key = "";
  if (!parse_config(command_line(static_cast<const StartInfo*>(start_info)), config, bad_key)) {
    print_all("WORKLOAD error: bad value for ", bad_key, "=\n");
    leave(Exit::usage);
  }
  if (config.idle_poll) forbid_halt();
  print_all("WORKLOAD up mode=", static_cast<const char*>(config.mode), "\n");
  run(config);
}
