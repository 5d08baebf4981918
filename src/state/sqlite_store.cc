#include "state/sqlite_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "state/key_space.h"
#include "state/sqlite_file.h"
#include "state/watch_list.h"

namespace consort::state {
namespace {

constexpr std::int64_t kSchema = 1;
constexpr std::size_t kMaxGroup = 500;

// The end of the keys with this prefix: the least key after them all, or nothing (no bound).
std::optional<std::string> end_of_prefix(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xFF) end.pop_back();
  if (end.empty()) return std::nullopt;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

Entry entry_of(const Statement& row) {
  return {row.bytes(0), row.bytes(1), Revision{row.number(2)}, LeaseId{row.number(3)}};
}

Result<std::optional<Entry>> read_entry(SqliteFile& file, std::string_view key) {
  Statement row =
      TRY(file.statement("SELECT key, value, modified, lease FROM entries WHERE key = ?"));
  if (!TRY(row.bind(key).step())) return std::optional<Entry>();
  return std::optional(entry_of(row));
}

Result<std::vector<Entry>> read_range(SqliteFile& file, std::string_view prefix, std::size_t limit,
                                      std::string_view after_key) {
  const auto end = end_of_prefix(prefix);
  Statement rows = TRY(end ? file.statement("SELECT key, value, modified, lease FROM entries WHERE "
                                            "key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?")
                           : file.statement("SELECT key, value, modified, lease FROM entries WHERE "
                                            "key >= ? AND key > ? ORDER BY key LIMIT ?"));
  rows.bind(prefix).bind(after_key);
  if (end) rows.bind(*end);
  rows.bind(static_cast<std::int64_t>(std::min<std::size_t>(limit, 1U << 30U)));
  std::vector<Entry> out;
  while (TRY(rows.step())) out.push_back(entry_of(rows));
  return out;
}

Result<std::int64_t> read_number(SqliteFile& file, const char* sql) {
  Statement row = TRY(file.statement(sql));
  if (!TRY(row.step()))
    return fail(ErrorCode::corrupt, "the state store lacks its own records")
        .hint("restore the file from a backup");
  return row.number(0);
}

constexpr const char* kReadRevision = "SELECT revision FROM meta";

Status prepare_schema(SqliteFile& file, const fs::path& path) {
  TRYV(file.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"));
  const std::int64_t version = TRY(read_number(file, "PRAGMA user_version"));
  if (version > kSchema) {
    return fail(ErrorCode::unsupported,
                fmt::format("{} was written by a newer Consort (format {}, this one knows {})",
                            path.string(), version, kSchema))
        .hint("run the newer version");
  }
  if (version == kSchema) return {};
  return file.execute(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, modified INTEGER NOT NULL, "
      "lease INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE INDEX entries_of_lease ON entries (lease) WHERE lease <> 0;"
      "CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL);"
      "CREATE TABLE meta (revision INTEGER NOT NULL);"
      "INSERT INTO meta VALUES (0);"
      "PRAGMA user_version = 1;"
      "COMMIT;");
}

Status check_whole(SqliteFile& file, const fs::path& path) {
  Statement row = TRY(file.statement("PRAGMA quick_check(1)"));
  const std::string verdict = TRY(row.step()) ? row.bytes(0) : "no answer";
  if (verdict == "ok") return {};
  return fail(ErrorCode::corrupt,
              fmt::format("the state store {} is damaged: {}", path.string(), verdict))
      .hint(
          "restore the file from a backup, or move it away to begin anew; the agents keep what "
          "they run");
}

// What a job does inside the writer's transaction, at this revision if it changes anything.
struct Work {
  SqliteFile& file;
  Revision at;
  Events events;

  Status put(const Write& write) {
    Statement insert =
        TRY(file.statement("INSERT INTO entries VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
                           "SET value = excluded.value, "
                           "modified = excluded.modified, lease = excluded.lease"));
    TRYV(insert.bind(write.key).bind(write.value).bind(number(at)).bind(number(write.lease)).run());
    events.push_back({Event::Kind::put, at, write.key, write.value});
    return {};
  }
  Status erase(const std::string& key) {
    Statement remove = TRY(file.statement("DELETE FROM entries WHERE key = ? RETURNING 1"));
    if (TRY(remove.bind(key).step())) events.push_back({Event::Kind::erase, at, key, ""});
    return {};
  }
  Status erase_prefix(const std::string& prefix) {
    for (const Entry& entry : TRY(read_range(file, prefix, 1U << 30U, ""))) TRYV(erase(entry.key));
    return {};
  }
  Status check_lease(const Write& write) {
    if (write.lease == LeaseId{}) return {};
    Statement row = TRY(file.statement("SELECT 1 FROM leases WHERE id = ?"));
    if (TRY(row.bind(number(write.lease)).step())) return {};
    return fail(ErrorCode::invalid_input,
                fmt::format("the lease {} for {} has ended", number(write.lease), write.key))
        .hint("get a new lease and try again");
  }

  // The index of the first condition that does not hold, if any.
  Result<std::optional<std::size_t>> apply(const Transaction& transaction) {
    for (std::size_t i = 0; i < transaction.conditions.size(); ++i) {
      const auto entry = TRY(read_entry(file, transaction.conditions[i].key));
      if ((entry ? entry->modified : Revision{0}) != transaction.conditions[i].modified)
        return std::optional(i);
    }
    for (const Write& write : transaction.writes) {
      TRYV(check_lease(write));
      if (write.kind == Write::Kind::put) TRYV(put(write));
      if (write.kind == Write::Kind::erase) TRYV(erase(write.key));
      if (write.kind == Write::Kind::erase_prefix) TRYV(erase_prefix(write.key));
    }
    return std::optional<std::size_t>();
  }
  Status end_lease(LeaseId lease) {
    std::vector<std::string> keys;
    {
      Statement rows = TRY(
          file.statement("SELECT key FROM entries WHERE lease = ? AND lease <> 0 ORDER BY key"));
      rows.bind(number(lease));
      while (TRY(rows.step())) keys.push_back(rows.bytes(0));
    }
    for (const std::string& key : keys) TRYV(erase(key));
    Statement remove = TRY(file.statement("DELETE FROM leases WHERE id = ?"));
    return remove.bind(number(lease)).run();
  }
};

class SqliteStore final : public StateStore {
 public:
  SqliteStore(const Clock& clock, FileLock lock, SqliteFile writer, SqliteFile reader,
              Revision revision)
      : clock_(clock),
        lock_(std::move(lock)),
        writer_(std::move(writer)),
        reader_(std::move(reader)),
        revision_(revision),
        watches_(std::make_shared<WatchList>(revision)) {}

  ~SqliteStore() override {
    {
      const std::lock_guard lock(queue_mutex_);
      stopping_ = true;
    }
    queued_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  Status begin() {
    {
      Statement rows = TRY(writer_.statement("SELECT id, ttl FROM leases"));
      while (TRY(rows.step()))
        leases_[LeaseId{rows.number(0)}] = {Duration(rows.number(1)),
                                            clock_.now() + Duration(rows.number(1))};
    }
    thread_ = std::thread([this] { write_groups(); });
    return {};
  }

  Result<std::optional<Entry>> get(std::string_view key) override {
    const std::lock_guard lock(reader_mutex_);
    return read_entry(reader_, key);
  }
  Result<std::vector<Entry>> range(std::string_view prefix, std::size_t limit,
                                   std::string_view after_key) override {
    const std::lock_guard lock(reader_mutex_);
    return read_range(reader_, prefix, limit, after_key);
  }
  Result<Revision> revision() override { return revision_.load(); }

  void commit_async(Transaction transaction, Committed done) override {
    if (Status fine = check_transaction(transaction); !fine) {
      // Through the queue all the same: the answers keep the order of the calls.
      return enqueue([error = std::move(fine).error()](
                         Work&) -> Applied { return tl::unexpected<Error>(error); },
                     std::move(done));
    }
    enqueue([transaction = std::move(transaction)](Work& work) { return work.apply(transaction); },
            std::move(done));
  }

  Result<LeaseId> grant(Duration ttl) override {
    std::int64_t id = 0;
    const auto insert_lease = [&](Work& work) -> Applied {
      Statement insert =
          TRY(work.file.statement("INSERT INTO leases (ttl) VALUES (?) RETURNING id"));
      TRY(insert.bind(ttl.count()).step());
      id = insert.number(0);
      return std::optional<std::size_t>();
    };
    TRYV(run(insert_lease));
    const std::lock_guard lock(lease_mutex_);
    leases_[LeaseId{id}] = {ttl, clock_.now() + ttl};
    return LeaseId{id};
  }

  Status keep_alive(LeaseId lease) override {
    const std::lock_guard lock(lease_mutex_);
    const auto it = leases_.find(lease);
    if (it == leases_.end() || it->second.ends <= clock_.now()) {
      return fail(ErrorCode::not_found, fmt::format("the lease {} has ended", number(lease)))
          .hint("get a new lease");
    }
    it->second.ends = clock_.now() + it->second.ttl;
    return {};
  }

  Status revoke(LeaseId lease) override {
    const auto end_lease = [lease](Work& work) -> Applied {
      TRYV(work.end_lease(lease));
      return std::optional<std::size_t>();
    };
    TRYV(run(end_lease));
    const std::lock_guard lock(lease_mutex_);
    leases_.erase(lease);
    return {};
  }

  Result<std::optional<Instant>> expire_leases() override {
    std::vector<LeaseId> over;
    {
      const std::lock_guard lock(lease_mutex_);
      for (const auto& [id, lease] : leases_) {
        if (lease.ends <= clock_.now()) over.push_back(id);
      }
    }
    // Whose time is over cannot be kept alive any more, so nobody revives one of them now.
    for (const LeaseId lease : over) TRYV(revoke(lease));
    const std::lock_guard lock(lease_mutex_);
    std::optional<Instant> next;
    for (const auto& [id, lease] : leases_) next = next ? std::min(*next, lease.ends) : lease.ends;
    return next;
  }

  Result<Watch> watch(std::string prefix, Revision from, WatchCallback callback) override {
    return watches_->add(std::move(prefix), from, std::move(callback));
  }

 private:
  using Applied = Result<std::optional<std::size_t>>;
  struct Job {
    std::function<Applied(Work&)> apply;
    Committed done;
  };
  struct Outcome {
    Result<CommitOutcome> result;
    Events events;
  };

  void enqueue(std::function<Applied(Work&)> apply, Committed done) {
    {
      const std::lock_guard lock(queue_mutex_);
      queue_.push_back({std::move(apply), std::move(done)});
    }
    queued_.notify_one();
  }

  Status run(std::function<Applied(Work&)> apply) {
    std::mutex mutex;
    std::condition_variable ready;
    std::optional<Status> status;
    enqueue(std::move(apply), [&](const Result<CommitOutcome>& result) {
      const std::lock_guard lock(mutex);
      status = result ? Status() : Status(tl::unexpected<Error>(result.error()));
      ready.notify_one();
    });
    std::unique_lock lock(mutex);
    ready.wait(lock, [&] { return status.has_value(); });
    return *status;
  }

  void write_groups() {
    while (true) {
      std::vector<Job> group;
      {
        std::unique_lock lock(queue_mutex_);
        queued_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        // What was accepted is written, also while stopping.
        if (queue_.empty()) return;
        const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), kMaxGroup));
        std::move(queue_.begin(), queue_.begin() + count, std::back_inserter(group));
        queue_.erase(queue_.begin(), queue_.begin() + count);
      }
      write_group(group);
    }
  }

  void write_group(std::vector<Job>& group) {
    std::vector<Outcome> outcomes;
    Status status = write_once(group, outcomes);
    if (!status && group.size() > 1) {
      // One that is too large for the disk must not take its neighbours with it: each for itself.
      for (Job& job : group) {
        std::vector<Job> alone;
        alone.push_back(std::move(job));
        write_group(alone);
      }
      return;
    }
    for (std::size_t i = 0; i < group.size(); ++i) {
      if (!status) {
        group[i].done(tl::unexpected<Error>(status.error()));
        continue;
      }
      if (!outcomes[i].events.empty())
        watches_->publish(outcomes[i].result->revision, std::move(outcomes[i].events));
      group[i].done(std::move(outcomes[i].result));
    }
  }

  // All of the group in one SQLite transaction, or an error and nothing.
  Status write_once(const std::vector<Job>& group, std::vector<Outcome>& outcomes) {
    TRYV(writer_.execute("BEGIN IMMEDIATE"));
    Status status = apply_all(group, outcomes);
    if (status) status = writer_.execute("COMMIT");
    if (!status) {
      if (writer_.in_transaction()) static_cast<void>(writer_.execute("ROLLBACK"));
      return status;
    }
    for (const Outcome& outcome : outcomes) {
      if (outcome.result) revision_ = std::max(revision_.load(), outcome.result->revision);
    }
    return {};
  }

  Status apply_all(const std::vector<Job>& group, std::vector<Outcome>& outcomes) {
    Revision revision = revision_;
    for (const Job& job : group) {
      TRYV(writer_.execute("SAVEPOINT one"));
      Work work{writer_, Revision{number(revision) + 1}, {}};
      Applied applied = job.apply(work);
      if (!applied) {
        const bool ours =
            applied.error().code() == ErrorCode::io || applied.error().code() == ErrorCode::corrupt;
        if (ours || !writer_.in_transaction())
          return tl::unexpected<Error>(std::move(applied).error());
        TRYV(writer_.execute("ROLLBACK TO one; RELEASE one"));
        outcomes.push_back({tl::unexpected<Error>(std::move(applied).error()), {}});
        continue;
      }
      TRYV(writer_.execute("RELEASE one"));
      if (!work.events.empty()) revision = work.at;
      outcomes.push_back(
          {CommitOutcome{!applied->has_value(), revision, *applied}, std::move(work.events)});
    }
    if (revision == revision_.load()) return {};
    Statement update = TRY(writer_.statement("UPDATE meta SET revision = ?"));
    return update.bind(number(revision)).run();
  }

  const Clock& clock_;
  FileLock lock_;
  SqliteFile writer_;  // the writer thread only, after begin()
  std::mutex reader_mutex_;
  SqliteFile reader_;  // guarded by reader_mutex_
  std::atomic<Revision> revision_;
  std::shared_ptr<WatchList> watches_;
  std::mutex lease_mutex_;
  std::map<LeaseId, Lease> leases_;  // guarded by lease_mutex_
  std::mutex queue_mutex_;
  std::condition_variable queued_;
  std::vector<Job> queue_;  // guarded by queue_mutex_
  bool stopping_ = false;   // guarded by queue_mutex_
  std::thread thread_;
};

}  // namespace

namespace {

// Whom a controller lets in is nobody's business else. SQLite gives the files beside it the mode of
// the first; those of an older version are closed here. Before anybody has it open: closing a
// descriptor of the file would end SQLite's locks.
Status close_to_others(const fs::path& path) {
  const Fd made(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!made.valid() && errno != EEXIST)
    return fail_errno(errno, fmt::format("cannot create {}", path.string()));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path.string() + suffix;
    struct stat info {};
    if (::stat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || (info.st_mode & 077U) == 0)
      continue;
    if (::chmod(file.c_str(), 0600) != 0)
      return fail_errno(errno,
                        fmt::format("{} can be read by others, and that cannot be changed", file));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<StateStore>> open_sqlite_store(const fs::path& path, const Clock& clock) {
  FileLock lock = TRY(
      FileLock::acquire(path.string() + ".lock", fmt::format("the state store {}", path.string())));
  TRYV(close_to_others(path));
  SqliteFile writer = TRY(SqliteFile::open(path));
  TRYV(prepare_schema(writer, path));
  TRYV(check_whole(writer, path));
  SqliteFile reader = TRY(SqliteFile::open(path));
  const Revision revision{TRY(read_number(writer, kReadRevision))};
  auto store = std::make_unique<SqliteStore>(clock, std::move(lock), std::move(writer),
                                             std::move(reader), revision);
  TRYV(store->begin());
  return std::unique_ptr<StateStore>(std::move(store));
}

}  // namespace consort::state
