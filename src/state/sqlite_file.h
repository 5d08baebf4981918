// One connection to a SQLite file, and its statements. Private to this room; one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"

struct sqlite3;
struct sqlite3_stmt;

namespace consort::state {

// A prepared statement in use: bind in order, step, read columns. Ready for its next use when it
// goes.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  Statement(Statement&& other) noexcept
      : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Text is bound as a blob, so that keys compare byte by byte; it must live until the last step().
  Statement& bind(std::string_view bytes);
  Statement& bind(std::int64_t number);
  // True: there is a row. Errors: io, corrupt.
  [[nodiscard]] Result<bool> step();
  // For statements without rows.
  [[nodiscard]] Status run();
  [[nodiscard]] std::string bytes(int column) const;
  [[nodiscard]] std::int64_t number(int column) const;

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

class SqliteFile {
 public:
  // Makes the file when absent. Errors: io, corrupt.
  [[nodiscard]] static Result<SqliteFile> open(const fs::path& path);

  [[nodiscard]] Status execute(const char* sql);
  // Prepared once for each text.
  [[nodiscard]] Result<Statement> statement(const char* sql);
  // A transaction is open. SQLite ends it by itself after some failures.
  [[nodiscard]] bool in_transaction() const;

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit SqliteFile(std::unique_ptr<sqlite3, Close> db) : db_(std::move(db)) {}

  std::unique_ptr<sqlite3, Close> db_;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

}  // namespace consort::state
