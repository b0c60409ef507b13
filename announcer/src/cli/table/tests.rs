use super::*;
use crate::observe::status::{ConditionStatus, LinkStatus, MapStatus, NodeStatus, NodeWeight, PathStatus};

#[test]
fn status_shows_links_nodes_and_problems() {
    let shown = status(&Status {
        node: "n1".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 42,
        uptime_seconds: 3_671,
        complete: true,
        programmed: true,
        problems: vec!["link eth1 has no carrier".to_owned()],
        links: vec![LinkStatus {
            name: "eth0".to_owned(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            mtu: 1500,
            up: true,
            mode: Some(AttachMode::Native),
            addresses: vec!["192.0.2.1/24".to_owned()],
        }],
        nodes: vec![NodeStatus {
            name: "n1".to_owned(),
            alive: true,
            ready: true,
            leaving: false,
            version: "0.1.0".to_owned(),
        }],
        allocator: Some("n1".to_owned()),
        vips: 2,
        vips_led: 1,
        services: 2,
        endpoints: 6,
        maps: vec![MapStatus { name: "FLOWS".to_owned(), used: 3, capacity: 262_144 }],
    });
    insta::assert_snapshot!(shown, @r"
    Node n1 · announcer 0.1.0 · pid 42 · up 1h 1m
    State: in step with the API server
    Problem: link eth1 has no carrier
    VIPs 2 (1 led here) · Services 2 · endpoints 6 · allocator n1

    LINK  MODE    MAC                MTU   UP   ADDRESSES
    eth0  native  02:00:00:00:00:01  1500  yes  192.0.2.1/24

    NODE  ALIVE  READY  LEAVING  VERSION
    n1    yes    yes    no       0.1.0

    MAP    USED  CAPACITY
    flows  3     262144
    ");
}

#[test]
fn vips_shows_who_leads() {
    let vip = VipStatus {
        address: "192.0.2.100".parse().unwrap(),
        leader: Some("n1".to_owned()),
        term: 3,
        reason: "leads".to_owned(),
        announced_on: vec!["eth0".to_owned()],
        services: vec!["default/web".to_owned(), "default/dns".to_owned()],
    };
    let nobody =
        VipStatus { leader: None, reason: "no_node".to_owned(), announced_on: vec![], services: vec![], ..vip.clone() };
    insta::assert_snapshot!(vips(&[vip, nobody]), @r"
    VIP          LEADER  TERM  ANNOUNCED HERE ON  SERVICES                  REASON
    192.0.2.100  n1      3     eth0               default/web, default/dns  leads
    192.0.2.100  none    3     -                  -                         no_node
    ");
}

#[test]
fn services_shows_nodes_and_why_a_service_waits() {
    let web = ServiceStatus {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        addresses: vec!["192.0.2.100".parse().unwrap()],
        path: PathStatus { kind: PathKind::Datapath, why: String::new() },
        ports: vec![PortStatus {
            address: "192.0.2.100".parse().unwrap(),
            port: 80,
            protocol: "TCP".to_owned(),
            nodes: vec![NodeWeight { name: "n1".to_owned(), weight: 2 }],
            local: vec!["10.244.1.5:8080".parse().unwrap()],
            tables: 1,
            flows: 12,
        }],
        conditions: vec![],
    };
    let waits = ServiceStatus {
        name: "waits".to_owned(),
        addresses: vec![],
        path: PathStatus { kind: PathKind::None, why: String::new() },
        ports: vec![],
        conditions: vec![ConditionStatus {
            kind: "announcer.dev/IPAMRequestSatisfied".to_owned(),
            status: false,
            reason: "no_pool".to_owned(),
            message: "no pool selects this Service".to_owned(),
        }],
        ..web.clone()
    };
    insta::assert_snapshot!(services(&[web, waits]), @r"
    SERVICE        ADDRESS      PORT    PATH      NODES (WEIGHT)  ENDPOINTS HERE   FLOWS HERE  TABLES
    default/web    192.0.2.100  80/TCP  datapath  n1 (2)          10.244.1.5:8080  12          1
    default/waits  -            -       none      -               -                -           -

    default/waits: no pool selects this Service (no_pool)
    ");
}

#[test]
fn durations_have_two_units() {
    assert_eq!(duration(0), "0s");
    assert_eq!(duration(61), "1m 1s");
    assert_eq!(duration(3_600), "1h 0m");
    assert_eq!(duration(200_000), "2d 7h");
}
