// The current VMCS of a processor, with every outcome looked at. Freestanding.
#pragma once

#include <cstdint>

#include "core/x86/vmx_cpu.h"

namespace cupel::vmx {

// A VMREAD or VMWRITE that fails is our own or the processor's fault, never the guest's. The first
// one sticks; the run loop looks before each entry and stops, so that no value made up here is
// ever run with.
class Vmcs {
 public:
  explicit Vmcs(x86::VmxCpu& cpu) : cpu_(cpu) {}

  uint16_t get(x86::Field16 f) { return fetch<uint16_t>(f); }
  uint32_t get(x86::Field32 f) { return fetch<uint32_t>(f); }
  uint64_t get(x86::Field64 f) { return fetch<uint64_t>(f); }
  uint64_t get(x86::FieldN f) { return fetch<uint64_t>(f); }
  void set(x86::Field16 f, uint16_t v) { store(f, v); }
  void set(x86::Field32 f, uint32_t v) { store(f, v); }
  void set(x86::Field64 f, uint64_t v) { store(f, v); }
  void set(x86::FieldN f, uint64_t v) { store(f, v); }

  bool failed() const { return failed_; }
  uint32_t failed_field() const { return failed_field_; }
  bool failed_write() const { return failed_write_; }

 private:
  template <class Value, class Field>
  Value fetch(Field field) {
    Value value = 0;
    if (cpu_.read(field, value) != x86::VmxStatus::succeed) [[unlikely]] {
      note(static_cast<uint32_t>(field), false);
      return 0;
    }
    return value;
  }
  template <class Field, class Value>
  void store(Field field, Value value) {
    if (cpu_.write(field, value) != x86::VmxStatus::succeed) [[unlikely]] {
      note(static_cast<uint32_t>(field), true);
    }
  }
  void note(uint32_t field, bool write) {
    if (failed_) return;
    failed_ = true;
    failed_field_ = field;
    failed_write_ = write;
  }

  x86::VmxCpu& cpu_;
  bool failed_ = false;
  bool failed_write_ = false;
  uint32_t failed_field_ = 0;
};

}  // namespace cupel::vmx
