#include "hypervisor/metal/console.h"

#include "hypervisor/metal/instructions.h"

namespace cupel::metal {
namespace {

constexpr uint16_t kCom1 = 0x3f8;
constexpr uint16_t kDebugExit = 0xf4, kShutdown = 0x8900;

// Line status bit 5: transmitter holding register empty. A port that does not answer reads as all
// ones and so never blocks.
void put(char c) {
  while ((in8(kCom1 + 5) & 0x20) == 0) pause();
  out8(kCom1, static_cast<uint8_t>(c));
}

}  // namespace

// Source: National Semiconductor PC16550D data sheet, "Registers".
void console_init() {
  out8(kCom1 + 1, 0x00);  // no interrupts
  out8(kCom1 + 3, 0x80);  // divisor latch
  out8(kCom1 + 0, 0x01);  // 115200 baud
  out8(kCom1 + 1, 0x00);
  out8(kCom1 + 3, 0x03);  // 8N1
  out8(kCom1 + 2, 0xc7);  // FIFO on, cleared
  out8(kCom1 + 4, 0x03);  // DTR, RTS
}

void print(char c) { put(c); }

void print(const char* text) {
  for (; *text != '\0'; ++text) put(*text);
}

void print_unsigned(uint64_t value) {
  char digits[21];
  char* at = digits + sizeof digits - 1;
  *at = '\0';
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  print(static_cast<const char*>(at));
}

void print(Hex hex) {
  print("0x");
  int shift = 60;
  while (shift > 0 && (hex.value >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) put("0123456789abcdef"[hex.value >> shift & 15]);
}

void leave(Exit value) {
  print_line("# done");
  // Line status bit 6: the shift register is empty as well, so that the last character is out.
  while ((in8(kCom1 + 5) & 0x40) == 0) pause();
  out8(kDebugExit, static_cast<uint8_t>(value));
  for (const char* c = "Shutdown"; *c != '\0'; ++c) out8(kShutdown, static_cast<uint8_t>(*c));
  for (;;) asm volatile("cli; hlt");
}

}  // namespace cupel::metal
