// A Multiboot image that runs: what it prints it has found by itself.
#include "tests/boot/multiboot_image.h"
#include "tests/integration/board_run.h"

namespace cupel {
namespace {

// Prints the command line, the string of the first module and the module itself, each ended by a
// zero, and leaves by debug exit with 0x10; with 0x20 if EAX was not the loader's magic number.
constexpr uint8_t kProgram[] = {
    0xbc, 0x00, 0x20, 0x10, 0x00,  // 00 mov esp,0x102000
    0x3d, 0x02, 0xb0, 0xad, 0x2b,  // 05 cmp eax,0x2badb002
    0x75, 0x23,                    // 0a jne 2f <bad>
    0x66, 0xba, 0xf8, 0x03,        // 0c mov dx,0x3f8
    0x8b, 0x73, 0x10,              // 10 mov esi,[ebx+0x10]
    0xe8, 0x1d, 0x00, 0x00, 0x00,  // 13 call 35 <print>
    0x8b, 0x6b, 0x18,              // 18 mov ebp,[ebx+0x18]
    0x8b, 0x75, 0x08,              // 1b mov esi,[ebp+0x8]
    0xe8, 0x12, 0x00, 0x00, 0x00,  // 1e call 35 <print>
    0x8b, 0x75, 0x00,              // 23 mov esi,[ebp+0x0]
    0xe8, 0x0a, 0x00, 0x00, 0x00,  // 26 call 35 <print>
    0xb0, 0x10,                    // 2b mov al,0x10
    0xeb, 0x02,                    // 2d jmp 31 <leave>
    0xb0, 0x20,                    // 2f mov al,0x20
    0xe6, 0xf4,                    // 31 out 0xf4,al
    0xfa,                          // 33 cli
    0xf4,                          // 34 hlt
    0xac,                          // 35 lods al,ds:[esi]
    0x84, 0xc0,                    // 36 test al,al
    0x74, 0x03,                    // 38 je 3d <done>
    0xee,                          // 3a out dx,al
    0xeb, 0xf8,                    // 3b jmp 35 <print>
    0xc3,                          // 3d ret
};

TEST(MultibootOnBoard, FindsItsInformationPrintsAndLeaves) {
  boot::MultibootElf32 image;
  std::memcpy(image.bytes.data() + boot::MultibootElf32::kHeader + 0x20, kProgram, sizeof kProgram);
  constexpr char kText[] = "content\n";
  const boot::BootModule module{std::as_bytes(std::span(kText)), "module "};
  const boot::BootImage boot{
      .file = image.bytes, .command_line = "image -v ", .modules = std::span(&module, 1)};
  const BoardRun first = run_on_board(boot, 16_MiB, /*debug_exit=*/true);
  EXPECT_EQ(first.console, "image -v module content\n");
  EXPECT_EQ(first.exit, (chips::ExitRequest{chips::ExitRequest::Kind::debug_exit, 0x21}))
      << to_string(first.exit);
  const BoardRun second = run_on_board(boot, 16_MiB, /*debug_exit=*/true);
  EXPECT_EQ(first.end, second.end) << "not deterministic";
}

}  // namespace
}  // namespace cupel
