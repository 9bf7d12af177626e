#include "hypervisor/kvm/msr_set.h"

#include <cstdio>
#include <string>

#include "hypervisor/kvm/kvm_lists.h"

namespace cupel::kvm {
namespace {

constexpr uint32_t kMostMsrs = 1024;

struct OneMsr {
  MsrListHeader header;
  kvm_msr_entry entry;
};

OneMsr make_one(uint32_t index, uint64_t value) {
  OneMsr one{};
  one.header.count = 1;
  one.entry.index = index;
  one.entry.data = value;
  return one;
}

}  // namespace

Result<std::vector<uint32_t>> saved_msrs(const System& system) {
  std::vector<uint32_t> room(1 + kMostMsrs);
  room[0] = kMostMsrs;
  CUPEL_TRY(
      system.device.control(request::get_msr_index_list, "KVM_GET_MSR_INDEX_LIST", room.data()));
  return std::vector<uint32_t>(room.begin() + 1, room.begin() + 1 + room[0]);
}

std::vector<MsrValue> read_msrs(const FileDescriptor& vcpu, std::span<const uint32_t> indexes) {
  std::vector<MsrValue> values;
  for (const uint32_t index : indexes) {
    OneMsr one = make_one(index, 0);
    if (vcpu.call(request::get_msrs, &one) == 1) values.push_back({index, one.entry.data});
  }
  return values;
}

Result<void> write_msrs(const FileDescriptor& vcpu, std::span<const MsrValue> values) {
  for (const MsrValue& msr : values) {
    // Not all that can be read can be written; what is there already needs no writing.
    const auto current = read_msrs(vcpu, std::span(&msr.index, 1));
    if (!current.empty() && current[0].value == msr.value) continue;
    OneMsr one = make_one(msr.index, msr.value);
    if (vcpu.call(request::set_msrs, &one) == 1 || msr.value == 0) continue;
    char text[80];
    std::snprintf(text, sizeof text, "KVM does not take %#llx for MSR %#x",
                  static_cast<unsigned long long>(msr.value), msr.index);
    return fail(ErrorKind::environment, text);
  }
  return {};
}

}  // namespace cupel::kvm
