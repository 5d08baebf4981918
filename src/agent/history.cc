#include "agent/history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace consort::agent {

namespace {

std::uint64_t number_of(const Json& event) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, event.int_or("n")));
}

// The events of a file whose last line may be torn.
std::vector<Json> events_of(const fs::path& file) {
  std::vector<Json> out;
  const auto text = read_file(file, 2 * History::kMostBytes);
  if (!text) return out;
  for (const std::string& line : split(*text, '\n')) {
    if (line.empty()) continue;
    if (auto event = parse_json(line); event && event->is_object())
      out.push_back(std::move(*event));
  }
  return out;
}

}  // namespace

History::History(fs::path file, std::uint64_t at_least) : file_(std::move(file)), last_(at_least) {
  for (const fs::path& path : {older(), file_}) {
    for (const Json& event : events_of(path)) last_ = std::max(last_, number_of(event));
  }
}

void History::open() {
  fd_ = Fd(::open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  struct stat info {};
  if (!fd_.valid() || ::fstat(fd_.get(), &info) != 0) return;
  size_ = static_cast<std::uint64_t>(info.st_size);
  // A line that was torn by a crash ends here, so that the next one is whole.
  char last = '\n';
  if (size_ > 0 && ::pread(fd_.get(), &last, 1, info.st_size - 1) == 1 && last != '\n')
    (void)write_all(fd_.get(), "\n", file_.string());
}

void History::append(Json& event) {
  const std::lock_guard lock(mutex_);
  event["n"] = static_cast<std::int64_t>(++last_);
  const std::string line = event.dump() + "\n";
  if (fd_.valid() && size_ + line.size() > kMostBytes) {
    fd_.reset();
    std::error_code ec;
    fs::rename(file_, older(), ec);
  }
  if (!fd_.valid()) open();
  if (!fd_.valid()) {
    log_warn("the history {} cannot be written", file_.string());
    return;
  }
  if (const Status status = write_all(fd_.get(), line, file_.string()); !status) {
    log_warn("{}", status.error().message());
    fd_.reset();  // part of the line may be there
    return;
  }
  size_ += line.size();
}

std::vector<Json> History::after(std::uint64_t number, std::size_t most) const {
  const std::lock_guard lock(mutex_);
  if (last_ <= number) return {};
  std::vector<Json> out;
  for (const fs::path& path : {older(), file_}) {
    for (Json& event : events_of(path)) {
      if (number_of(event) > number && !event.bool_or("local")) out.push_back(std::move(event));
    }
  }
  if (out.size() > most) out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(most));
  return out;
}

std::string presentable(std::string_view text, std::size_t limit) {
  std::string out(text.substr(0, limit));
  if (is_utf8(out)) return out;
  // A cut in the middle of a character is no reason to lose them all.
  for (int cut = 0; cut < 3 && text.size() > limit && !out.empty(); ++cut) {
    out.pop_back();
    if (is_utf8(out)) return out;
  }
  for (char& c : out) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return out;
}

Json make_event(Instant now, std::string_view kind, std::string_view service,
                std::string_view resource, std::string_view text) {
  return Json::object({{"at", format_instant(now)},
                       {"kind", kind},
                       {"service", service},
                       {"resource", resource},
                       {"text", presentable(text, 4096)}});
}

}  // namespace consort::agent
