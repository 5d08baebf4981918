#include "controller/journal.h"

#include <fmt/format.h>

#include "controller/host_texts.h"

namespace consort::controller {

Result<Store> Journal::load() {
  constexpr std::size_t kPage = 1000;
  Store out;
  large_.clear();
  std::string after;
  while (true) {
    const auto entries = TRY(store_.range("", kPage, after));
    bool skipped = false;
    for (const state::Entry& entry : entries) {
      // The audit log grows for ever, and nobody needs all of it in memory.
      if (entry.key.starts_with("audit/")) {
        after = "audit/~";
        skipped = true;
        break;
      }
      std::string value = entry.value;
      if (value.starts_with('@')) {
        const Digest digest = TRY(Digest::parse(std::string_view(value).substr(1)));
        auto whole = objects_.get(digest, kMostValueBytes);
        if (!whole)
          return fail(std::move(whole).error().context(
              fmt::format("the store's key {} is kept as an object", entry.key)));
        large_.insert_or_assign(entry.key, digest);
        value = std::move(*whole);
      }
      out.emplace(entry.key, std::move(value));
    }
    if (skipped) continue;
    if (entries.size() < kPage) return out;
    after = entries.back().key;
  }
}

void Journal::commit(Writes writes, Done done) {
  waiting_.push_back({std::move(writes), std::move(done)});
  if (!busy_) next_group();
}

void Journal::next_group() {
  Writes writes;
  std::vector<Done> done;
  for (Waiting& waiting : waiting_) {
    for (auto& [key, value] : waiting.writes) writes.insert_or_assign(key, std::move(value));
    done.push_back(std::move(waiting.done));
  }
  waiting_.clear();
  busy_ = true;
  if (auto status = keep_large_values(writes); !status)
    return give_up(status.error(), std::move(done));
  write(in_transactions(std::move(writes), limits_), 0, std::move(done));
}

Status Journal::keep_large_values(Writes& writes) {
  for (auto& [key, value] : writes) {
    if (!value && key.ends_with('/')) {
      std::erase_if(large_,
                    [&, &below = key](const auto& l) { return l.first.starts_with(below); });
    } else if (!value || value->size() <= kInline ||
               (key.starts_with("hosts/") && value->size() <= kMostHostRecord)) {
      large_.erase(key);
    } else if (value->size() > kMostValueBytes) {
      return fail(ErrorCode::too_large,
                  fmt::format("{} would be {} MB; the store takes {} MB at once", key,
                              value->size() / 1'000'000, kMostValueBytes / 1'000'000));
    } else {
      const Digest digest = TRY(objects_.put(*value));
      large_.insert_or_assign(key, digest);
      value = "@" + digest.str();
    }
  }
  return {};
}

void Journal::write(std::vector<Writes> transactions, std::size_t next, std::vector<Done> done) {
  if (next == transactions.size()) {
    busy_ = false;
    for (const Done& call : done) call({});
    if (!busy_ && !waiting_.empty()) next_group();
    return;
  }
  state::Transaction transaction;
  for (auto& [key, value] : transactions[next]) {
    transaction.writes.push_back(value                ? state::Write::put(key, std::move(*value))
                                 : key.ends_with('/') ? state::Write::erase_prefix(key)
                                                      : state::Write::erase(key));
  }
  store_.commit_async(std::move(transaction),
                      [this, transactions = std::move(transactions), next, done = std::move(done)](
                          const Result<state::CommitOutcome>& outcome) mutable {
                        post_([this, transactions = std::move(transactions), next,
                               done = std::move(done), outcome]() mutable {
                          if (!outcome) return give_up(outcome.error(), std::move(done));
                          write(std::move(transactions), next + 1, std::move(done));
                        });
                      });
}

void Journal::give_up(const Error& error, std::vector<Done> done) {
  for (Waiting& waiting : waiting_) done.push_back(std::move(waiting.done));
  waiting_.clear();
  busy_ = false;
  for (const Done& call : done) call(fail(error));
}

std::set<Digest> Journal::objects_in_use() const {
  std::set<Digest> out;
  for (const auto& [key, digest] : large_) out.insert(digest);
  return out;
}

}  // namespace consort::controller
