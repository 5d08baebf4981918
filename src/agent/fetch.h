// Brings objects from the controller into the local store: only what is missing, in pieces, going
// on where an earlier transfer broke off, verified on arrival. A twentieth of the disk (half a
// gigabyte at most) stays free of large ones. Blocking. Thread-safe; transfers of
// several threads take turns, piece by piece, so that a large one keeps no small one waiting.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "agent/upstream.h"
#include "base/time.h"
#include "objects/store.h"

namespace consort::agent {

class Fetcher {
 public:
  // `url` may be empty: then everything that is not here is the error unavailable.
  [[nodiscard]] static Result<std::unique_ptr<Fetcher>> create(const Upstream& upstream,
                                                               const objects::ObjectStore& store);

  // Errors: unavailable, timeout (the controller); not_found (it has no such object); corrupt; io
  // (there is no room for it).
  [[nodiscard]] Status object(const Digest& digest);
  // A manifest and everything that it needs at run time. Tries again for as long as `patience` when
  // the controller cannot be reached.
  [[nodiscard]] Status closure(const Digest& manifest, Duration patience);
  // Whether the controller answers at all.
  [[nodiscard]] bool reachable();
  // What is under way and all that comes later ends with `interrupted`.
  void cancel();

 private:
  explicit Fetcher(const objects::ObjectStore& store) : store_(store) {}
  [[nodiscard]] Status closure_once(const Digest& manifest);
  [[nodiscard]] Status transfer(const Digest& digest);
  // The next piece of an object that is half here; whether it is complete now.
  [[nodiscard]] Result<bool> piece(const Digest& digest);

  const objects::ObjectStore& store_;
  // Whose piece is next: in the order in which they asked.
  class Turns {
   public:
    void take();
    void pass_on();

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t next_ = 0;
    std::uint64_t serving_ = 0;
  };
  Turns turns_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::Client> ping_;
  std::string url_;
  std::mutex wait_mutex_;
  std::condition_variable cancelled_;
  bool cancel_ = false;
};

}  // namespace consort::agent
