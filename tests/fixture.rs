//! The fixture itself, on a server without the extension.

use std::time::Duration;

use testbed::{eventually, Cluster, Listener};

const SOON: Duration = Duration::from_secs(20);

/// `pg_config` as the server sees it.
fn server_path(client: &mut postgres::Client, name: &str) -> String {
    client
        .query_one("SELECT setting FROM pg_config WHERE name = $1", &[&name])
        .unwrap()
        .get(0)
}

#[test]
fn server_runs_from_the_tree_and_not_from_the_system() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    let version: String = client.query_one("SELECT version()", &[]).unwrap().get(0);
    assert!(version.starts_with("PostgreSQL "), "{version}");

    let bin = server_path(&mut client, "BINDIR");
    assert_eq!(bin, cluster.programs().to_string_lossy());
    let (root, below) = bin.split_at(bin.find("/usr/").unwrap_or(0));
    assert!(!root.is_empty(), "the system's own server: {below}");
    for name in ["SHAREDIR", "PKGLIBDIR"] {
        let path = server_path(&mut client, name);
        assert!(path.starts_with(root), "{name} is {path}, outside {root}");
    }
    // What comes with the server is found through the tree too.
    client
        .batch_execute("DO $$ BEGIN RAISE NOTICE 'plpgsql is there'; END $$")
        .unwrap();
}

#[test]
fn settings_users_and_databases() {
    let cluster = Cluster::start_with(&[("fsync", "on"), ("work_mem", "5MB")]);
    let mut client = cluster.connect();
    let mut show = |name: &str| -> String {
        let row = client.query_one(&format!("SHOW {name}"), &[]).unwrap();
        row.get(0)
    };
    assert_eq!(show("fsync"), "on");
    assert_eq!(show("work_mem"), "5MB");
    assert_eq!(show("max_prepared_transactions"), "20");
    assert_eq!(show("listen_addresses"), "");

    client.batch_execute("CREATE ROLE teller LOGIN").unwrap();
    cluster.create_database("bank");
    let mut teller = cluster.connect_as("teller", "bank");
    let row = teller
        .query_one("SELECT current_user::text, current_database()::text", &[])
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("teller", "bank"));
    assert!(cluster.try_connect_as("stranger", "bank").is_err());
}

#[test]
fn client_programs() {
    let cluster = Cluster::shared();
    cluster.create_database("programs");
    let made = cluster.sql(
        "programs",
        "CREATE TABLE t (a int);\nINSERT INTO t VALUES (7);",
    );
    made.ok();
    let read = cluster.psql(&["-d", "programs", "-At", "-c", "SELECT a FROM t"]);
    assert_eq!(read.ok(), "7\n");
    let failed = cluster.sql("programs", "SELECT 1/0;\nDROP TABLE t;");
    assert_eq!(failed.code, 3);
    assert!(failed.stderr.contains("division by zero"), "{failed:?}");
    let dump = cluster.pg_dump(&["programs"]).ok();
    assert!(
        dump.contains("COPY public.t (a) FROM stdin;\n7\n"),
        "{dump}"
    );
}

#[test]
fn listener_hears_in_order() {
    let cluster = Cluster::shared();
    let listener: Listener = cluster.listen("postgres", "Odd \"name\"");
    let mut client = cluster.connect();
    for n in 1..=3 {
        let sql = "SELECT pg_notify('Odd \"name\"', $1)";
        client.execute(sql, &[&n.to_string()]).unwrap();
    }
    let notices = listener.wait_for(3, SOON);
    assert_eq!(listener.payloads(), ["1", "2", "3"]);
    assert!(notices[0].at <= notices[2].at);
    assert_eq!(notices[0].channel, "Odd \"name\"");
}

#[test]
fn survives_stops_and_crashes() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS n")
        .unwrap();
    let rows = || -> i64 {
        let row = cluster
            .connect()
            .query_one("SELECT count(*) FROM kept", &[]);
        row.unwrap().get(0)
    };

    let first = cluster.pid();
    cluster.kill9_postmaster_tree();
    assert!(client.batch_execute("SELECT 1").is_err());
    cluster.start_again();
    assert_ne!(cluster.pid(), first);
    assert_eq!(rows(), 1);
    assert!(cluster.log().contains("not properly shut down"));

    cluster.restart();
    assert_eq!(rows(), 1);
    assert!(cluster.log().contains("database system is shut down"));

    // One backend dies: the server ends all others and comes back by itself.
    let mut victim = cluster.connect();
    let pid: i32 = victim
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    cluster.kill9(pid);
    eventually(SOON, || {
        let log = cluster.log();
        let (_, after) = log.split_once("was terminated by signal 9")?;
        after.contains("ready to accept connections").then_some(())
    });
    assert_eq!(rows(), 1);
}

#[test]
fn standby_follows() {
    let primary = Cluster::start();
    let standby = primary.start_standby(&[("hot_standby_feedback", "on")]);
    primary
        .connect()
        .batch_execute("CREATE TABLE followed ()")
        .unwrap();
    let mut reader = standby.connect();
    eventually(SOON, || {
        let row = reader
            .query_one("SELECT to_regclass('followed') IS NOT NULL", &[])
            .unwrap();
        row.get::<_, bool>(0).then_some(())
    });
    let recovering: bool = reader
        .query_one("SELECT pg_is_in_recovery()", &[])
        .unwrap()
        .get(0);
    assert!(recovering);
}

#[test]
fn dropped_cluster_leaves_nothing() {
    let cluster = Cluster::start();
    let pid = cluster.pid();
    let files = [cluster.data_dir(), cluster.socket_dir().to_owned()];
    assert!(files.iter().all(|path| path.exists()));
    drop(cluster);
    assert!(files.iter().all(|path| !path.exists()));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
