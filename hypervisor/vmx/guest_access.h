// Accesses to the guest's linear address space, made by the hypervisor on the guest's behalf:
// instruction bytes, string operands, MMIO operands. Freestanding.
#pragma once

#include <array>
#include <cstdint>

#include "core/guest_ram.h"
#include "core/result.h"
#include "core/types.h"
#include "hypervisor/vm/guest_platform.h"
#include "hypervisor/vmx/guest_walk.h"
#include "hypervisor/vmx/injection.h"
#include "hypervisor/vmx/mmio_decode.h"
#include "hypervisor/vmx/ram_map.h"
#include "hypervisor/vmx/vmcs.h"

namespace cupel::vmx {

// Why an access did not happen.
struct AccessError {
  enum class Kind : uint8_t {
    exception,           // to inject; cr2 as well when it is #PF
    paging_outside_ram,  // a paging structure at `at` is not RAM
    fetch_outside_ram,   // instruction bytes at `at` are not RAM
  };
  Kind kind = Kind::exception;
  Event exception;
  uint64_t cr2 = 0;
  Gpa at;
};

// Reads the paging registers from the VMCS once, when constructed; lives for one exit. A physical
// address outside RAM goes to the platform as MMIO. RAM writes mark the page dirty.
class GuestAccess {
 public:
  GuestAccess(Vmcs& vmcs, const RamMap& ram, vm::GuestPlatform& platform, uint8_t physical_bits);

  CodeSize code_size() const { return code_size_; }

  // seg:offset -> linear, with the checks of segmentation: #GP(0), or #SS(0) for SS. size: bytes
  // of the access, address_size: 2, 4, 8 bytes.
  Result<Gva, AccessError> linear(x86::Seg seg, uint64_t offset, unsigned size,
                                  unsigned address_size, bool write);

  // size: 1, 2, 4, 8; may cross a page. A store translates both pages before it changes either.
  Result<uint64_t, AccessError> read(Gva at, unsigned size, Access access = Access::read);
  Result<void, AccessError> write(Gva at, unsigned size, uint64_t value);
  // Whether such an access would fault, for operations that must not begin otherwise.
  Result<void, AccessError> check(Gva at, unsigned size, Access access);

  struct Code {
    std::array<uint8_t, 15> bytes{};
    uint8_t count = 0;
  };
  // Up to 15 bytes at CS:rip; fewer when a later page cannot be fetched.
  Result<Code, AccessError> fetch(uint64_t rip);

 private:
  // The one or two physical pieces of an access.
  struct Pieces {
    std::array<Gpa, 2> at;
    unsigned first = 0;  // bytes in the first piece
  };
  Result<Gpa, AccessError> translate(Gva at, Access access);
  Result<Pieces, AccessError> locate(Gva at, unsigned size, Access access);
  uint64_t read_physical(Gpa at, unsigned size);
  void write_physical(Gpa at, unsigned size, uint64_t value);

  Vmcs& vmcs_;
  const RamMap& ram_;
  vm::GuestPlatform& platform_;
  PagingState paging_;
  CodeSize code_size_ = CodeSize::bits16;
};

}  // namespace cupel::vmx
