#include "agent/remembering_files.h"

#include <fmt/format.h>

namespace consort::agent {

Result<std::string> RememberingFiles::write(const std::string& path, const Content& content,
                                            const Metadata& meta, const Validate& validate) {
  TRYV(remember_place(path));
  return context_.files.write(path, content, meta, validate);
}

Status RememberingFiles::make_directory(const std::string& path, const Metadata& meta) {
  TRYV(remember_place(path));
  return context_.files.make_directory(path, meta);
}

Status RememberingFiles::make_symlink(const std::string& path, const std::string& target) {
  TRYV(remember_place(path));
  return context_.files.make_symlink(path, target);
}

Status RememberingFiles::set_metadata(const std::string& path, const Metadata& meta) {
  TRYV(remember(path, Originals::Change::metadata));
  return context_.files.set_metadata(path, meta);
}

Status RememberingFiles::remove(const std::string& path) {
  TRYV(remember(path));
  return context_.files.remove(path);
}

Result<std::string> RememberingFiles::set_aside(const std::string& path) {
  std::string aside = aside_of(path);
  TRYV(remember(path));
  TRYV(originals_.note_aside(path, aside));
  TRYV(context_.files.rename(path, aside));
  return aside;
}

// What is in a directory would move unseen.
Status RememberingFiles::rename(const std::string& from, const std::string& /*to*/) {
  return fail(ErrorCode::unsupported,
              fmt::format("{} can be set aside while there is a way back, not moved", from));
}

}  // namespace consort::agent
