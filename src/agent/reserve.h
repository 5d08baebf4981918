// Room on the disk that is held for the journal: on a full disk it is given up, so that the agent
// can still take its target, find that there is no room for it, and say so. Not thread-safe.
#pragma once

#include "base/files.h"

namespace consort::agent {

class Reserve {
 public:
  explicit Reserve(fs::path file) : file_(std::move(file)) {}
  // Takes the room when it is not held and the disk has plenty. Never an error: without it a full
  // disk is only reported later.
  void hold();
  // Gives it up. False when there was nothing to give.
  [[nodiscard]] bool release();

 private:
  fs::path file_;
  bool held_ = false;
};

}  // namespace consort::agent
