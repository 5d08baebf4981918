#include "state/watch_list.h"

#include <fmt/format.h>

#include <algorithm>

namespace consort::state {
namespace {

// Enough for a watcher that was away for a moment; one that was away longer reads anew.
constexpr std::size_t kHistoryCommits = 10'000;
constexpr std::size_t kHistoryBytes = 32U << 20U;

std::size_t bytes_of(const Events& events) {
  std::size_t sum = 0;
  for (const Event& event : events) sum += event.key.size() + event.value.size() + sizeof event;
  return sum;
}

}  // namespace

void WatchList::deliver(Watcher& watcher, const Commit& commit) {
  if (watcher.stopped || commit.revision <= watcher.seen) return;
  watcher.seen = commit.revision;
  Events mine;
  for (const Event& event : commit.events) {
    if (event.key.starts_with(watcher.prefix)) mine.push_back(event);
  }
  if (!mine.empty()) watcher.callback(mine);
}

Result<Watch> WatchList::add(std::string prefix, Revision from,
                             StateStore::WatchCallback callback) {
  const std::lock_guard lock(mutex_);
  if (from < known_from_) {
    return fail(ErrorCode::stale,
                fmt::format("the changes since revision {} are not known any more", number(from)))
        .hint("read the state anew, then watch from its revision");
  }
  auto watcher = std::make_shared<Watcher>(Watcher{std::move(prefix), std::move(callback), from});
  watchers_.push_back(watcher);
  // A copy: a callback may commit, which adds to the history.
  const auto past = history_;
  for (const Commit& commit : past) deliver(*watcher, commit);
  return Watch(std::shared_ptr<void>(watcher.get(), [weak = weak_from_this(), watcher](void*) {
    const auto list = weak.lock();
    if (list == nullptr) return;
    const std::lock_guard guard(list->mutex_);
    watcher->stopped = true;
    std::erase(list->watchers_, watcher);
  }));
}

void WatchList::publish(Revision revision, Events events) {
  const std::lock_guard lock(mutex_);
  history_bytes_ += bytes_of(events);
  history_.push_back({revision, events});
  while (history_.size() > kHistoryCommits ||
         (history_bytes_ > kHistoryBytes && history_.size() > 1)) {
    known_from_ = history_.front().revision;
    history_bytes_ -= bytes_of(history_.front().events);
    history_.pop_front();
  }
  undelivered_.push_back({revision, std::move(events)});
  // A commit made by a callback: the outer call delivers it after what it is delivering now.
  if (delivering_) return;
  delivering_ = true;
  while (!undelivered_.empty()) {
    const Commit commit = std::move(undelivered_.front());
    undelivered_.pop_front();
    const auto watchers = watchers_;
    for (const auto& watcher : watchers) deliver(*watcher, commit);
  }
  delivering_ = false;
}

}  // namespace consort::state
