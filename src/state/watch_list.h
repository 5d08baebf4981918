// Who watches, and what happened lately. Private to this room. Thread-safe; callbacks run under its
// lock, one at a time, and may use it again.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "state/state_store.h"

namespace consort::state {

class WatchList : public std::enable_shared_from_this<WatchList> {
 public:
  // Everything up to `known_from` is unknown to it.
  explicit WatchList(Revision known_from) : known_from_(known_from) {}

  [[nodiscard]] Result<Watch> add(std::string prefix, Revision from,
                                  StateStore::WatchCallback callback);
  // In the order of the commits.
  void publish(Revision revision, Events events);

 private:
  struct Watcher {
    std::string prefix;
    StateStore::WatchCallback callback;
    Revision seen{};
    bool stopped = false;
  };
  struct Commit {
    Revision revision{};
    Events events;
  };
  static void deliver(Watcher& watcher, const Commit& commit);

  std::recursive_mutex mutex_;
  Revision known_from_;
  std::deque<Commit> history_;
  std::size_t history_bytes_ = 0;
  std::deque<Commit> undelivered_;
  std::vector<std::shared_ptr<Watcher>> watchers_;
  bool delivering_ = false;
};

}  // namespace consort::state
