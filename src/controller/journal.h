// Makes what the core decides durable: in order, grouped, and in transactions that the store can
// hold. While one group is being written the next one gathers, later values of a key taking the
// place of earlier ones. When a write fails, nothing that came after it is written either: its
// owner reads the store anew and begins again from what is durable.
//
// Values of more than kInline bytes (plans, generations, outcomes of large fleets) are kept as
// objects; the store then holds "@sha256:…". The object is durable before the record that names it.
// Records of hosts are not: each report would leave an object behind, and they are small enough
// (host_texts.h).
// Values of more than kMostValueBytes could not be read again: nothing of their group is written.
//
// All members on the loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "controller/commit_order.h"
#include "objects/store.h"
#include "state/state_store.h"

namespace consort::controller {

class Journal {
 public:
  static constexpr std::size_t kInline = 128U << 10U;
  using Done = std::function<void(Status)>;
  using Post = std::function<void(std::function<void()>)>;  // runs it on the loop

  Journal(state::StateStore& store, const objects::ObjectStore& objects, Post post,
          TransactionLimits limits = {})
      : store_(store), objects_(objects), post_(std::move(post)), limits_(limits) {}

  // Everything that is durable but the audit log, large values in full. Errors: io, corrupt,
  // not_found (an object that a record names is gone).
  [[nodiscard]] Result<Store> load();
  // `done` is called once all of it is durable, or with the error that kept it from being so: io,
  // too_large.
  void commit(Writes writes, Done done);
  // The objects that records name: roots for the collector.
  [[nodiscard]] std::set<Digest> objects_in_use() const;

 private:
  struct Waiting {
    Writes writes;
    Done done;
  };
  void next_group();
  [[nodiscard]] Status keep_large_values(Writes& writes);
  void write(std::vector<Writes> transactions, std::size_t next, std::vector<Done> done);
  void give_up(const Error& error, std::vector<Done> done);

  state::StateStore& store_;
  const objects::ObjectStore& objects_;
  Post post_;
  TransactionLimits limits_;
  std::vector<Waiting> waiting_;
  bool busy_ = false;
  std::map<std::string, Digest> large_;  // key → the object that holds its value
};

}  // namespace consort::controller
