// A Postgres that is reached over TCP: who it is must be proven.
#include <filesystem>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "base/postgres.h"
#include "base/postgres_address.h"
#include "tests/support/certificates.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate::base;
using tollgate::test::CertificateFiles;
using tollgate::test::PostgresCluster;
using tollgate::test::TempDir;
using tollgate::test::TestAuthority;

namespace {

// The shared cluster, listening on a loopback address that is nobody else's.
struct Listening {
  Listening() {
    Run(fmt::format("ALTER SYSTEM SET listen_addresses = '{}'", address));
    Restart();
  }
  ~Listening() {
    cluster.Connect(url)->Run("set", "ALTER SYSTEM RESET ALL").IgnoreError();
    Restart();
  }
  void Run(const std::string& sql) {
    const auto status = cluster.Connect(url)->Run("set", sql).status();
    INFO(Message(status));
    REQUIRE(status.ok());
  }
  void Restart() {
    cluster.Stop();
    cluster.Start();
  }
  // As a file of the server's own.
  std::string Give(const std::string& file, const std::string& name) {
    const std::string folder = cluster.Connect(url)->Run("ask", "SHOW data_directory")->Text(0, 0);
    const std::string path = folder + "/" + name;
    const auto text = ReadFile(file);
    REQUIRE(text.ok());
    REQUIRE(WriteFileAtomically(path, *text, 0600).ok());
    struct stat info {};
    REQUIRE(::stat(folder.c_str(), &info) == 0);
    REQUIRE(::chown(path.c_str(), info.st_uid, info.st_gid) == 0);
    return path;
  }
  void SpeakTls(const CertificateFiles& files) {
    Run(fmt::format("ALTER SYSTEM SET ssl_cert_file = '{}'", Give(files.certificate, "server.pem")));
    Run(fmt::format("ALTER SYSTEM SET ssl_key_file = '{}'", Give(files.key, "server.key")));
    Run("ALTER SYSTEM SET ssl = on");
    Restart();
  }
  absl::StatusOr<std::unique_ptr<Session>> Connect(const std::string& host, const std::string& authority) const {
    PostgresOptions options;
    options.url =
        fmt::format("host={} hostaddr={} dbname=postgres user=postgres sslmode=verify-full sslrootcert={}", host, address, authority);
    REQUIRE(CheckPostgresAddress(options.url).ok());
    return Session::Connect(options);
  }

  PostgresCluster& cluster = PostgresCluster::Shared();
  std::string url = cluster.NewDatabase();
  std::string address = fmt::format("127.{}.{}.77", 16 + ::getpid() / 250 % 200, 1 + ::getpid() % 250);
};

// Of this process's connections to that address: what the kernel is told of them, apart by slashes.
std::string KeptAlive(const std::string& address) {
  in_addr wanted{};
  REQUIRE(::inet_pton(AF_INET, address.c_str(), &wanted) == 1);
  for (int socket = 3; socket < 1024; ++socket) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
    if (peer.sin_addr.s_addr != wanted.s_addr) continue;
    std::string out;
    for (const auto& [level, option] : {std::pair(SOL_SOCKET, SO_KEEPALIVE), std::pair(int{IPPROTO_TCP}, TCP_KEEPIDLE),
                                        std::pair(int{IPPROTO_TCP}, TCP_KEEPINTVL), std::pair(int{IPPROTO_TCP}, TCP_KEEPCNT)}) {
      int value = 0;
      size = sizeof value;
      REQUIRE(::getsockopt(socket, level, option, &value, &size) == 0);
      out += fmt::format("/{}", value);
    }
    return out;
  }
  return "no connection";
}

std::string Refusal(const absl::StatusOr<std::unique_ptr<Session>>& session) {
  return session.ok() ? "accepted" : Message(session.status());
}

}  // namespace

TEST_CASE("With sslmode=verify-full a session is encrypted, and only with the server whose name an authority that we know vouches for") {
  const TempDir folder;
  const TestAuthority authority(folder, "authority"), other(folder, "other");
  Listening server;
  CHECK(Refusal(server.Connect("db.example", authority.file())).find("speaks no TLS") != std::string::npos);

  server.SpeakTls(authority.Issue("server", "DNS:db.example"));
  const auto session = server.Connect("db.example", authority.file());
  INFO(Refusal(session));
  REQUIRE(session.ok());
  CHECK((*session)->Run("ask", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")->Bool(0, 0));
  // Either side finds out within a minute that the other was cut off.
  CHECK(KeptAlive(server.address) == "/1/30/10/3");
  CHECK((*session)
            ->Run("ask",
                  "SELECT concat_ws('/', current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), "
                  "current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout'))")
            ->Text(0, 0) == "30/10/3/60000");
  struct Row {
    const char* host;
    std::string authority;
  };
  for (const Row& row : {Row{"other.example", authority.file()}, Row{"db.example", other.file()}, Row{"db.example", folder.File("none")}}) {
    INFO(row.host << " " << row.authority);
    const std::string refusal = Refusal(server.Connect(row.host, row.authority));
    INFO(refusal);
    CHECK(refusal.find("certificate was not accepted; check sslmode and sslrootcert") != std::string::npos);
  }
}
