#include "state/sqlite_file.h"

#include <fmt/format.h>
#include <sqlite3.h>

namespace consort::state {
namespace {

Failure failed(sqlite3* db) {
  const int code = sqlite3_errcode(db);
  const char* file = sqlite3_db_filename(db, "main");
  const std::string what =
      fmt::format("the state store {}: {}", file != nullptr ? file : "", sqlite3_errmsg(db));
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
    return fail(ErrorCode::corrupt, what)
        .hint(
            "restore the file from a backup, or move it away to begin anew; the agents keep what "
            "they run");
  }
  if (code == SQLITE_FULL)
    return fail(ErrorCode::io, what)
        .hint(
            "free space on that file system, then run the same command again; nothing was changed");
  return fail(ErrorCode::io, what)
      .hint("check the disk, its space and the permissions of the file");
}

}  // namespace

Statement::~Statement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::bind(std::string_view bytes) {
  // A null pointer would bind NULL: the empty text is a blob of no bytes.
  sqlite3_bind_blob64(statement_, ++bound_, bytes.data() == nullptr ? "" : bytes.data(),
                      bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(std::int64_t number) {
  sqlite3_bind_int64(statement_, ++bound_, number);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failed(db_);
}

Status Statement::run() {
  TRY(step());
  return {};
}

std::string Statement::bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return data == nullptr
             ? std::string()
             : std::string(data,
                           static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

std::int64_t Statement::number(int column) const {
  return sqlite3_column_int64(statement_, column);
}

void SqliteFile::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }
void SqliteFile::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Result<SqliteFile> SqliteFile::open(const fs::path& path) {
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  SqliteFile file{std::unique_ptr<sqlite3, Close>(raw)};
  if (code != SQLITE_OK)
    return fail(ErrorCode::io, fmt::format("cannot open the state store {}: {}", path.string(),
                                           sqlite3_errstr(code)))
        .hint("check the owner and mode of its folder");
  sqlite3_busy_timeout(raw, 5000);
  return file;
}

Status SqliteFile::execute(const char* sql) {
  if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK)
    return failed(db_.get());
  return {};
}

Result<Statement> SqliteFile::statement(const char* sql) {
  auto& prepared = statements_[sql];
  if (prepared == nullptr) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) !=
        SQLITE_OK)
      return failed(db_.get());
    prepared.reset(raw);
  }
  return Statement(db_.get(), prepared.get());
}

bool SqliteFile::in_transaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }

}  // namespace consort::state
