// A host's view of a disk: completions run on the host's processors, so they wait while it hangs
// and die with it.
#pragma once

#include "hw_models/storage/shared_disk.h"

namespace cupel::platform {

class HostHardware;

class HostDisk : public LeaseDevice {
 public:
  HostDisk(HostHardware& host, storage::DiskPort& port) : host_(host), port_(port) {}

  uint64_t sectors() const override { return port_.sectors(); }
  void submit(BlockRequest request, Completion done) override;
  void compare_and_write(Lba lba, Sector expected, Sector replacement,
                         CompareCompletion done) override;
  void register_key(ReservationKey key, StatusCompletion done) override;
  void preempt(ReservationKey victim, StatusCompletion done) override;

  void initiator_lost_power() { port_.initiator_lost_power(); }
  storage::DiskPort& port() { return port_; }

 private:
  // Wraps a completion so that it runs on the host, or never.
  template <class Reply>
  std::function<void(Reply)> on_host(std::function<void(Reply)> done);

  HostHardware& host_;
  storage::DiskPort& port_;
};

}  // namespace cupel::platform
