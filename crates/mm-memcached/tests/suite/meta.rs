//! The meta commands: every row of the flag tables.

use crate::world::{Client, check, check_with, plain, service};

#[test]
fn fetching() {
    check("mg a\nmg a v\nmg a v k q O1\nmg a k O123 v\nmn\n", "EN\nEN\nEN ka O123\nMN\n");
    check(
        "set a 5 0 2\nhi\nmg a\nmg a v\nmg a s v f t k Oxyz q\nmg a f s\n",
        "STORED\nHD\nVA 2\nhi\nVA 2 s2 f5 t-1 ka Oxyz\nhi\nHD f5 s2\n",
    );
    check("set a 0 0 0\n\nmg a v\nmg a s\n", "STORED\nVA 0\n\nHD s0\n");
    check(
        "ms a 2 T90\nhi\nmg a t\nmg a t T30 t\nmg a t\nmg a T0 t\n",
        "HD\nHD t90\nCLIENT_ERROR duplicate flag\nHD t90\nHD t-1\n",
    );
}

#[test]
fn times_and_traces() {
    let mut client = Client::new(plain());
    client.expect("ms a 2 T90\nhi\nmg a h t\n", "HD\nHD h0 t90\n");
    client.wait_s(10);
    client.expect("mg a h l t u\n", "HD h1 l10 t80\n");
    client.expect("ms b 1\nx\nmg b u\nmg b h u\nmg b h\nmg b h\n", "HD\nHD\nHD h0\nHD h0\nHD h1\n");
    client.expect("mg a t T30\nmg a T40 t\nmg a t\n", "HD t80\nHD t40\nHD t40\n");
    client.wait_s(40);
    client.expect("mg a v\n", "EN\n");
    assert_eq!(client.stat("", "touch_hits"), "2");
}

#[test]
fn keys_in_base64() {
    check(
        "ms Zm9v 2 b\nhi\nmg Zm9v b v\nmg foo v k\nmg Zm9v b k\nmg Zm9v v\nget foo\nmd Zm9v b k\nmg Zm9v b k\n",
        "HD\nVA 2\nhi\nVA 2 kZm9v b\nhi\nHD kZm9v b\nEN\nVALUE foo 0 2\nhi\nEND\nHD kZm9v b\nEN kZm9v b\n",
    );
    check(
        "ms Zm9v 2 b k\nhi\nma Zm9v b k\nma AAEC b N0 k\n",
        "HD kZm9v b\nCLIENT_ERROR cannot increment or decrement non-numeric value\nHD kAAEC b\n",
    );
    // The key is "a", a line end, "b": it must not end the answer.
    check(
        "mg YQpi b N30 k v\nmg YQpi b k s\nlru_crawler mgdump all\n",
        "VA 0 kYQpi b W\n\nHD kYQpi b s0 Z\nOK\nmg YQpi b\nEN\n",
    );
    check(
        "mg Zm9 b v\nms Zm9 2 b\nhi\nmd Zm9 b\nma Zm9 b\nversion\n",
        "CLIENT_ERROR error decoding key\nCLIENT_ERROR error decoding key\nCLIENT_ERROR error decoding key\n\
         CLIENT_ERROR invalid or duplicate flag\nVERSION 1.6.45\n",
    );
}

#[test]
fn faults() {
    check(
        "mg\nmg a !\nmg a v v\nmg a Z\nmg a Tx\nmg a O0123456789012345678901234567890x\nma a Tx\nma a Mx\nmd a Cx\n",
        "CLIENT_ERROR bad command line format\nCLIENT_ERROR bad command line format\nCLIENT_ERROR duplicate flag\n\
         CLIENT_ERROR invalid flag\nCLIENT_ERROR bad token in command line format\n\
         CLIENT_ERROR opaque token too long\nCLIENT_ERROR invalid or duplicate flag\n\
         CLIENT_ERROR invalid mode for ma M token\nCLIENT_ERROR bad token in command line format\n",
    );
    check(
        "ms a\nms a x\nms a -1\nms a 2 Mx\nhi\nms a 2 Tx\nhi\nms a 2\nhixyms a 2 q\nhixyversion\n",
        "CLIENT_ERROR bad command line format\nCLIENT_ERROR bad command line format\n\
         CLIENT_ERROR bad command line format\nCLIENT_ERROR invalid mode for ms M token\n\
         CLIENT_ERROR bad token in command line format\nCLIENT_ERROR bad data chunk\nCLIENT_ERROR bad data chunk\n\
         VERSION 1.6.45\n",
    );
}

#[test]
fn storing_in_every_mode() {
    check(
        "ms a 1 F7 T0 k Oab s\nx\nms a 1 ME\ny\nms b 1 ME\ny\nms c 1 MR\nz\nms a 1 MRabc\nz\nmg a f v\n",
        "HD ka Oab s1\nNS\nHD\nNS\nHD\nVA 1 f0\nz\n",
    );
    check(
        "ms a 1 MA\nx\nms a 1 MP s\nx\nms a 1\n-\nms a 2 MA s\n>>\nms a 2 MP s\n<<\nmg a v\n",
        "NS\nNS s1\nHD\nHD s3\nHD s5\nVA 5\n<<->>\n",
    );
    check(
        "ms a 2 MA N30 F3 T90\nhi\nmg a t f v\nms a 1 MP N60\n!\nmg a t v\n",
        "HD\nVA 2 t30 f3\nhi\nHD\nVA 3 t30\n!hi\n",
    );
    check("ms a 1 q\nx\nms a 1 ME q\ny\nmn\n", "NS\nMN\n");
    check("ms a 1 S\nx\nmn\n", "CLIENT_ERROR invalid flag\nMN\n");
}

#[test]
fn comparing() {
    let mut client = Client::new(plain());
    client.expect("ms a 1 C5\nx\nms a 1 C5 MA\nx\nms a 1 C0 c\nx\n", "NF\nNS\nNF c0\n");
    client.expect("ms a 1 E1000 c\nx\nmg a c\n", "HD c1000\nHD c1000\n");
    client.expect(
        "ms a 1 C999 c\ny\nms a 1 C0\ny\nms a 1 C1000 E2000 c\ny\nmg a c v\n",
        "EX c0\nEX\nHD c2000\nVA 1 c2000\ny\n",
    );
    client.expect("ms a 1 C1 MA\nz\nms a 1 C2000 MA\nz\nmg a v C1\n", "EX\nHD\nVA 2\nyz\n");
    client.expect("ms a 1 E3000\nz\nmg a v C3000\n", "HD\nHD\n");
    client.expect("ms a 1 C3000 ME\nz\nms a 1 C3000 MR E0\nw\n", "NS\nHD\n");
    let cas = client.cas("a");
    assert!(cas > 0 && cas != 3000, "{cas}");
    client.expect(format!("md a C1\nmd a C0 q\nmd a C{cas} q\nmd a C{cas} q\n"), "EX\nEX\nNF\n");
}

#[test]
fn a_client_wins_the_right_to_fetch() {
    check(
        "mg a v N30 t\nmg a v t N60\nmg a\nms a 2 T90\nhi\nmg a v\n",
        "VA 0 t30 W\n\nVA 0 t30 Z\n\nHD Z\nHD\nVA 2\nhi\n",
    );
    check(
        "mg a N30 t q\nmg b N10 T20 t\nmg b t\nmg c T20 N10 t\nmg c t\n",
        "HD t30 W\nHD t20 W\nHD t20 Z\nHD t10 W\nHD t10 Z\n",
    );
    check(
        "ms a 1 T60\nx\nmg a R30\nmg a R90 t\nmg a R90\nms b 1\nx\nmg b R90\n",
        "HD\nHD\nHD t60 W\nHD Z\nHD\nHD\n",
    );
    check("mg a N30 E77 c\nget a\n", "HD c77 W\nVALUE a 0 0\n\nEND\n");
}

#[test]
fn stale_values() {
    let mut client = Client::new(plain());
    client.expect("ms a 1 T90 E100\nx\nmd a I T30\n", "HD\nHD\n");
    let answer = client.ask("mg a v c t\n");
    let cas: u64 = answer.split(' ').nth(2).unwrap()[1..].parse().unwrap();
    assert_eq!(answer, format!("VA 1 c{cas} t30 X W\nx\n"));
    assert!(cas > 100);
    client.expect("mg a v c\nget a\n", &format!("VA 1 c{cas} Z X\nx\nVALUE a 0 1\nx\nEND\n"));
    client.expect(format!("ms a 1 C{cas} T60\ny\nmg a v t\n"), "HD\nVA 1 t60\ny\n");
    client.expect("md a I E500\nmg a c\nmd a I E600 C500\nmg a c\n", "HD\nHD c500 X W\nHD\nHD c600 X W\n");
}

#[test]
fn an_older_value_is_stored_as_stale() {
    let mut client = Client::new(plain());
    client.expect("ms a 1 T90 E100\nx\nms a 1 I C101\ny\nms a 1 I C99 T10 E200\ny\n", "HD\nEX\nHD\n");
    client.expect("mg a v t c\nmg a v\n", "VA 1 t90 c200 X W\ny\nVA 1 Z X\ny\n");
    client.expect("ms a 1 I C200 T10\nz\nmg a v t\nms b 1 I C1\nx\n", "HD\nVA 1 t10\nz\nNF\n");
}

#[test]
fn deleting() {
    check(
        "md a\nmd a q O1\nset a 0 0 1\nx\nmd a O2 k\nmd a q\nmn\n",
        "NF\nNF O1\nSTORED\nHD O2 ka\nNF\nMN\n",
    );
    check(
        "set a 3 0 1\nx\nmd a x\nmg a s f t\nmd a x F5 T30\nmg a s f t\n",
        "STORED\nHD\nHD s0 f0 t-1\nHD\nHD s0 f5 t30\n",
    );
    check("set a 3 0 1\nx\nmd a x I\nmg a s\nmd a q\nmn\n", "STORED\nHD\nHD s0 X W\nMN\n");
    let mut client = Client::new(plain());
    client.expect("ms a 1\nx\nmd a I\nmd a x\nmd a\nmd a\n", "HD\nHD\nHD\nHD\nNF\n");
    assert_eq!(client.stat("", "delete_hits"), "2");
    assert_eq!(client.stat("", "delete_misses"), "1");
}

#[test]
fn counting() {
    check(
        "ma a\nma a q O5\nma a N0 J13 v\nma a v\nma a D10 v t k\n\
         ma a MD D4\nma a M- v\nma a MI D2 v\nma a M+ q\nmg a v\n",
        "NF\nNF O5\nVA 2\n13\nVA 2\n14\nVA 2 t-1 ka\n24\nHD\nVA 2\n19\nVA 2\n21\nVA 2\n22\n",
    );
    check("ma a N90 t\nma a t\nma a T30 t v\nma a t\n", "HD t90\nHD t90\nVA 1 t30\n2\nHD t30\n");
    check(
        "set a 0 0 1\n5\nma a MD D9 v\nma a Mincr\n",
        "STORED\nVA 1\n0\nCLIENT_ERROR invalid mode for ma M token\n",
    );
    let mut client = Client::new(plain());
    client.expect(
        "ms a 1 E10\n1\nma a C11\nma a C10 E20 c v\nma a C0 E30 c\nma a N0 E1 c\n",
        "HD\nEX\nVA 1 c20\n2\nHD c30\nHD c1\n",
    );
    assert_eq!(client.stat("", "incr_hits"), "3");
    client.expect("ma b q\nma b MD\n", "NF\nNF\n");
    assert_eq!(client.stat("", "incr_misses"), "1");
    assert_eq!(client.stat("", "decr_misses"), "1");
}

#[test]
fn what_is_known_of_an_item() {
    let mut client = Client::new(plain());
    client.expect("me a\nms a 5 T100 E77\nhello\n", "EN\nHD\n");
    client.wait_s(5);
    client.expect("me a\n", "ME a exp=95 la=5 cas=77 fetch=no cls=1 size=65\n");
    client.expect("mg a\nms Zm9v 1 b\nx\n", "HD\nHD\n");
    let answer = client.ask("me Zm9v b\nme foo\n");
    assert!(answer.lines().all(|line| line.starts_with("ME Zm9v exp=-1 la=0 cas=")), "{answer}");
    assert_eq!(client.stat("", "cmd_meta"), "4");
}

#[test]
fn values_in_pieces() {
    let make = || service(4 << 20, |_| {});
    let body = "0123456789".repeat(230);
    check_with(
        make,
        format!("ms a 2300 T60 Oabc k s c E9 q\n{body}\nms a 2300 ME q O1\n{body}\nmg a t s c\n"),
        "NS O1\nHD t60 s2300 c9\n",
    );
    check_with(
        make,
        format!("ms Zm9v 2300 b k F3 c E9\n{body}\nms foo 2300 MA N0 C9 s\n{body}\nmg foo s f k\n"),
        "HD kZm9v b c9\nHD s4600\nHD s4600 f3 kZm9v b\n",
    );
}

#[test]
fn a_joined_value_takes_the_cas_that_is_given() {
    check(
        "ms a 1 E10\nx\nms a 1 MA E5000 c\ny\nms a 1 MP C5000 E3 c s\nz\nms a 1 MA E0 q\n-\nmg a v\n\
         ms b 1 MA N0 E77 c\nx\nmg b c\nms a 1 MR E9 c\nq\nms c 1 ME E8 c\nq\n",
        "HD\nHD c5000\nHD c3 s3\nVA 4\nzxy-\nHD c77\nHD c77\nHD c9\nHD c8\n",
    );
}
