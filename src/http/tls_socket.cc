#include "http/tls_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace consort::http {
namespace {

TlsSocket& socket_of(BIO* bio) { return *static_cast<TlsSocket*>(BIO_get_data(bio)); }

bool is_transient(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int write_bytes(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(socket_of(bio).fd, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && is_transient(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int read_bytes(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  TlsSocket& socket = socket_of(bio);
  if (socket.source == TlsSocket::Source::window) {
    const std::size_t n = std::min(socket.window.size(), static_cast<std::size_t>(size));
    std::memcpy(bytes, socket.window.data(), n);
    socket.window.remove_prefix(n);
    if (n > 0) return static_cast<int>(n);
    if (socket.ended) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  const ssize_t n = ::recv(socket.fd, bytes, static_cast<std::size_t>(size), 0);
  if (n == 0) socket.ended = true;
  if (n < 0 && is_transient(errno)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return socket_of(bio).ended ? 1 : 0;
  return 0;
}

BIO_METHOD* make_method() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "consort socket");
  BIO_meth_set_write(method, write_bytes);
  BIO_meth_set_read(method, read_bytes);
  BIO_meth_set_ctrl(method, control);
  return method;
}

}  // namespace

BIO* make_socket_bio(TlsSocket& socket) {
  static const BIO_METHOD* const method = make_method();
  BIO* bio = BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, &socket);
  BIO_set_init(bio, 1);
  return bio;
}

}  // namespace consort::http
