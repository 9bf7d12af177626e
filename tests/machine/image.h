// Small bootable images, assembled by hand.
#pragma once

#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "hw_models/machine/machine.h"

namespace cupel::machine::testing {

constexpr uint32_t kLoadAddress = 0x100000, kEntry = kLoadAddress + 0x40;

// A Multiboot image with address fields: `code` at kEntry, 32-bit protected mode without paging.
inline std::vector<std::byte> image_of(std::span<const uint8_t> code) {
  std::vector<std::byte> image(0x40 + code.size());
  const uint32_t magic = 0x1badb002, flags = 1u << 16;
  const uint32_t end = kLoadAddress + static_cast<uint32_t>(image.size());
  const uint32_t header[] = {magic, flags, 0u - magic - flags, kLoadAddress, kLoadAddress, end,
                             end,   kEntry};
  std::memcpy(image.data(), header, sizeof header);
  std::memcpy(image.data() + 0x40, code.data(), code.size());
  return image;
}

inline std::unique_ptr<Machine> machine_with(std::span<const uint8_t> code,
                                             MachineConfig config = {}) {
  const auto image = image_of(code);
  config.memory = 16_MiB;
  boot::BootImage boot;
  boot.file = image;
  auto made = Machine::create(std::move(config), boot);
  return made.ok() ? std::move(made).value() : nullptr;
}
inline std::unique_ptr<Machine> machine_with(std::initializer_list<uint8_t> code,
                                             MachineConfig config = {}) {
  return machine_with(std::span(code.begin(), code.size()), std::move(config));
}

}  // namespace cupel::machine::testing
