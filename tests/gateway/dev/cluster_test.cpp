// The private cluster: made once, started again with what it held, taken over when its program was killed, healed from a stale pid file.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "base/postgres.h"
#include "gateway/dev/cluster.h"

using namespace tollgate;

namespace {
struct Folder {
  Folder() {
    path = (std::filesystem::temp_directory_path() / "tg-cluster-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

std::unique_ptr<dev::Cluster> Start(const std::string& folder) {
  auto cluster = dev::Cluster::Start(folder);
  INFO(cluster.status().ToString());
  REQUIRE(cluster.ok());
  return *std::move(cluster);
}

std::unique_ptr<base::Session> Connect(const dev::Cluster& cluster) {
  base::PostgresOptions options;
  options.url = cluster.Url("tollgate");
  auto session = base::Session::Connect(options);
  INFO(session.status().ToString());
  REQUIRE(session.ok());
  return *std::move(session);
}
}  // namespace

TEST_CASE("A cluster keeps what it holds, refuses strangers, and its login is no superuser") {
  const Folder folder;
  {
    const auto cluster = Start(folder.path);
    CHECK(cluster->made());
    CHECK_FALSE(cluster->adopted());
    REQUIRE(cluster->EnsureDatabase("tollgate").ok());
    REQUIRE(cluster->EnsureDatabase("tollgate").ok());
    const auto session = Connect(*cluster);
    REQUIRE(session->Run("make", "CREATE TABLE public.t (i int8)").ok());
    REQUIRE(session->Run("fill", "INSERT INTO public.t VALUES (7)").ok());
    const auto role = session->Run("ask", "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user");
    REQUIRE(role.ok());
    CHECK_FALSE(role->Bool(0, 0));
    CHECK(role->Bool(0, 1));
    base::PostgresOptions serve;
    serve.url = cluster->ServeUrl("tollgate");
    const auto server = base::Session::Connect(serve);
    REQUIRE(server.ok());
    CHECK_FALSE((*server)->Run("make", "CREATE TABLE public.u (i int8)").ok());
    CHECK_FALSE((*server)->Run("look", "SELECT i FROM public.t").ok());
    struct stat info {};
    REQUIRE(::stat(cluster->data_folder().c_str(), &info) == 0);
    CHECK((info.st_mode & 0077) == 0);
    CHECK(info.st_uid != 0);
  }
  CHECK_FALSE(std::filesystem::exists(folder.path + "/postgres/data/postmaster.pid"));
  // A pid file that names a process which is no Postgres (this test): what a killed machine leaves behind.
  std::ofstream(folder.path + "/postgres/data/postmaster.pid") << ::getpid() << "\n";
  const auto again = Start(folder.path);
  CHECK_FALSE(again->made());
  CHECK_FALSE(again->adopted());
  const auto rows = Connect(*again)->Run("look", "SELECT i FROM public.t");
  REQUIRE(rows.ok());
  CHECK(rows->Int(0, 0) == 7);
}

TEST_CASE("A cluster whose program was killed is taken over") {
  const Folder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    const auto cluster = dev::Cluster::Start(folder.path);
    ::_exit(cluster.ok() && (*cluster)->EnsureDatabase("tollgate").ok() ? 0 : 1);  // Without a destructor: as if killed.
  }
  int state = 0;
  REQUIRE(::waitpid(child, &state, 0) == child);
  REQUIRE(state == 0);
  const auto cluster = Start(folder.path);
  CHECK(cluster->adopted());
  CHECK(Connect(*cluster)->Run("look", "SELECT 1").ok());
  CHECK(cluster->Stop().ok());
  CHECK_FALSE(std::filesystem::exists(folder.path + "/postgres/data/postmaster.pid"));
}

TEST_CASE("A folder whose path is too long for a socket works too") {
  const Folder folder;
  REQUIRE(::chmod(folder.path.c_str(), 0711) == 0);
  const auto cluster = Start(folder.path + "/" + std::string(90, 'x'));
  REQUIRE(cluster->EnsureDatabase("tollgate").ok());
  CHECK(Connect(*cluster)->Run("look", "SELECT 1").ok());
}

TEST_CASE("Root's own folder, which the server's user cannot enter, holds a link to the cluster") {
  if (::geteuid() != 0) SKIP("only root's clusters belong to another user");
  const Folder folder;
  const std::string inner = folder.path + "/inner";
  REQUIRE(::chmod(folder.path.c_str(), 0700) == 0);
  std::string place;
  {
    const auto cluster = Start(inner);
    place = std::filesystem::read_symlink(inner + "/postgres").string();
    CHECK(cluster->data_folder() == place + "/data");
    CHECK(cluster->made());
  }
  CHECK_FALSE(Start(inner)->made());
  std::filesystem::remove_all(inner);
  CHECK(Start(inner)->made());  // A new folder begins anew.
  std::filesystem::remove_all(place);
}

TEST_CASE("A first start that was interrupted leaves nothing half made") {
  const Folder folder;
  std::filesystem::create_directories(folder.path + "/postgres/data.new/base");
  const auto cluster = Start(folder.path);
  CHECK(cluster->made());
}

TEST_CASE("A helper program that fails tells its last words") {
  const Folder folder;
  const auto status = dev::RunProgram(std::nullopt, {"/bin/sh", "-c", "echo first; echo the reason >&2; exit 3"}, folder.path + "/log");
  CHECK(base::Message(status).find("the reason") != std::string::npos);
  CHECK(base::Message(status).find("exit code 3") != std::string::npos);
  CHECK_FALSE(dev::RunProgram(std::nullopt, {"/nonexistent/program"}, folder.path + "/log").ok());
}
