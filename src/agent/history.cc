#include "agent/history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

namespace consort::agent {

void History::append(const Json& event) {
  const std::string line = event.dump() + "\n";
  const std::lock_guard lock(mutex_);
  if (fd_.valid() && size_ + line.size() > kMostBytes) {
    fd_.reset();
    std::error_code ec;
    fs::rename(file_, file_.string() + ".1", ec);
  }
  if (!fd_.valid()) {
    fd_ = Fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    struct stat info {};
    size_ = fd_.valid() && ::fstat(fd_.get(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size)
                                                          : 0;
  }
  if (!fd_.valid()) {
    log_warn("the history {} cannot be written", file_.string());
    return;
  }
  if (const Status status = write_all(fd_.get(), line, file_.string()); !status)
    log_warn("{}", status.error().message());
  size_ += line.size();
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
