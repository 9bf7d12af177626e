// Text on COM1 (16550, polled) and the end of the run through the debug-exit port.
#pragma once

#include <stdint.h>

namespace workload {

void console_init();

void print(const char* text);
void print(uint64_t value);
struct Hex {
  uint64_t value;
};
void print(Hex value);

template <class... Parts>
void print_all(Parts... parts) {
  (print(parts), ...);
}

// Exit values written to port 0xf4.
enum class Exit : uint8_t { ok = 0, usage = 1, no_device = 2, exception = 3 };
[[noreturn]] void leave(Exit value);

}  // namespace workload
