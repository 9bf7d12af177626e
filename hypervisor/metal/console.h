// Text on COM1 (16550, polled) and the ways an image ends. Freestanding.
#pragma once

#include <concepts>
#include <cstdint>

namespace cupel::metal {

void console_init();

struct Hex {
  uint64_t value;
};

void print(char c);
void print(const char* text);
void print(Hex value);  // 0x and lower-case digits, no leading zeros
void print_unsigned(uint64_t value);

template <std::unsigned_integral T>
void print(T value) {
  print_unsigned(value);
}

// print_line("ok ", number, " - ", name)
template <class... Parts>
void print_line(Parts... parts) {
  (print(parts), ...);
  print('\n');
}

// Values written to the debug-exit port 0xf4.
enum class Exit : uint8_t { ok = 0, failed = 1, usage = 2, bailed_out = 3 };

// Prints "# done", writes `value` to port 0xf4 (QEMU's isa-debug-exit: status value * 2 + 1), then
// "Shutdown" to port 0x8900 (the Bochs way), then halts with interrupts off.
[[noreturn]] void leave(Exit value);

// TAP's word for a run that cannot go on.
template <class... Parts>
[[noreturn]] void bail_out(Parts... parts) {
  print("Bail out! ");
  print_line(parts...);
  leave(Exit::bailed_out);
}

}  // namespace cupel::metal
