#include "scenarios/guests/workload/console.h"

#include "scenarios/guests/workload/x86.h"

namespace workload {
namespace {

constexpr uint16_t kCom1 = 0x3f8;
constexpr uint16_t kExitPort = 0xf4;

// Line status bit 5: transmitter holding register empty. A port that does not answer reads as all
// ones and so never blocks.
void put(char c) {
  while ((in8(kCom1 + 5) & 0x20) == 0) pause();
  out8(kCom1, static_cast<uint8_t>(c));
}

}  // namespace

void console_init() {
  out8(kCom1 + 1, 0x00);  // no interrupts
  out8(kCom1 + 3, 0x80);  // divisor latch
  out8(kCom1 + 0, 0x01);  // 115200 baud
  out8(kCom1 + 1, 0x00);
  out8(kCom1 + 3, 0x03);  // 8N1
  out8(kCom1 + 2, 0xc7);  // FIFO on, cleared
  out8(kCom1 + 4, 0x03);  // DTR, RTS
}

void print(const char* text) {
  for (; *text != '\0'; ++text) put(*text);
}

void print(uint64_t value) {
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
  out8(kExitPort, static_cast<uint8_t>(value));
  for (;;) asm volatile("cli; hlt");
}

}  // namespace workload
