import jakarta.jms.*;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import org.apache.qpid.jms.JmsConnectionFactory;

/**
 * An application that uses JMS and knows nothing of Posthouse.
 *
 * JmsPeer send URL USER PASSWORD QUEUE     sends one message of each kind, with all that JMS can say of a message
 * JmsPeer receive URL USER PASSWORD QUEUE N  receives N messages
 *
 * Both print one line for each thing that a message says: NUMBER NAME TYPE VALUE. The number travels as a property, for a
 * broker hands out what has a higher priority first.
 */
public class JmsPeer {
    public static void main(String[] args) throws Exception {
        JmsConnectionFactory factory = new JmsConnectionFactory(args[2], args[3], args[1]);
        factory.setPopulateJMSXUserID(true);
        try (Connection connection = factory.createConnection()) {
            Session session = connection.createSession(Session.AUTO_ACKNOWLEDGE);
            connection.start();
            if (args[0].equals("send")) {
                send(session, session.createQueue(args[4]));
            } else {
                receive(session, session.createQueue(args[4]), Integer.parseInt(args[5]));
            }
        }
    }

    static void send(Session session, Queue queue) throws Exception {
        MessageProducer producer = session.createProducer(queue);
        int number = 0;
        for (Message m : messages(session)) {
            m.setJMSType("order-\u00fc");
            m.setJMSCorrelationID(new String[] {"order-7", "ID:AMQP_ULONG:42", "gr\u00f6\u00dfe", "ID:AMQP_BINARY:00FF", "a%b c", "ID:x"}[number]);
            m.setStringProperty("JMSXGroupID", "group-" + number);
            m.setIntProperty("JMSXGroupSeq", number == 0 ? -1 : number);
            m.setIntProperty("number", number);
            m.setBooleanProperty("aBoolean", true);
            m.setByteProperty("aByte", (byte) -128);
            m.setShortProperty("aShort", (short) -32768);
            m.setIntProperty("anInt", Integer.MIN_VALUE);
            m.setLongProperty("aLong", Long.MAX_VALUE);
            m.setFloatProperty("aFloat", 0.1f);
            m.setDoubleProperty("aDouble", Double.NaN);
            m.setStringProperty("aString", "gr\u00f6\u00dfe \ud83d\ude00, 100% =\r\n ");
            m.setStringProperty("empty", "");
            m.setObjectProperty("nothing", null);
            m.setStringProperty("x_HYPHEN_team", "a");
            producer.send(m, number % 2 == 0 ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT, number + 3, number == 2 ? 0 : 3_600_000);
            print(m, number++);
        }
    }

    static List<Message> messages(Session s) throws Exception {
        BytesMessage bytes = s.createBytesMessage();
        bytes.writeBytes(new byte[] {0, (byte) 0xff, 'x'});
        MapMessage map = s.createMapMessage();
        map.setInt("n", 7);
        map.setString("s", "gr\u00f6\u00dfe");
        map.setBytes("b", new byte[] {0, -1});
        map.setBoolean("t", true);
        map.setDouble("d", 0.5);
        StreamMessage stream = s.createStreamMessage();
        stream.writeInt(7);
        stream.writeString("x");
        stream.writeBoolean(true);
        return List.of(s.createTextMessage("Gr\u00fc\u00dfe \ud83d\ude00"), bytes, map, stream, s.createObjectMessage(new ArrayList<>(List.of("a", 1))), s.createMessage());
    }

    static void receive(Session session, Queue queue, int count) throws Exception {
        MessageConsumer consumer = session.createConsumer(queue);
        for (int number = 0; number < count; number++) {
            Message m = consumer.receive(60_000);
            if (m == null) {
                throw new JMSException("only " + number + " of " + count + " messages came");
            }
            print(m, m.getIntProperty("number"));
        }
    }

    static void print(Message m, int number) throws Exception {
        line(number, "id", m.getJMSMessageID());
        line(number, "correlation", m.getJMSCorrelationID());
        line(number, "type", m.getJMSType());
        line(number, "priority", m.getJMSPriority());
        line(number, "mode", m.getJMSDeliveryMode());
        line(number, "timestamp", m.getJMSTimestamp());
        line(number, "expiration", m.getJMSExpiration());
        for (Object name : Collections.list(m.getPropertyNames())) {
            line(number, "property." + name, m.getObjectProperty((String) name));
        }
        body(m, number);
    }

    static void body(Message m, int number) throws Exception {
        if (m instanceof TextMessage text) {
            line(number, "body.text", text.getText());
        } else if (m instanceof BytesMessage bytes) {
            bytes.reset();
            byte[] b = new byte[(int) bytes.getBodyLength()];
            bytes.readBytes(b);
            line(number, "body.bytes", HexFormat.of().formatHex(b));
        } else if (m instanceof MapMessage map) {
            for (Object key : Collections.list(map.getMapNames())) {
                line(number, "body.map." + key, map.getObject((String) key));
            }
        } else if (m instanceof StreamMessage stream) {
            stream.reset();
            try {
                for (int i = 0;; i++) {
                    line(number, "body.stream." + i, stream.readObject());
                }
            } catch (MessageEOFException e) {
                line(number, "body.stream", "end");
            }
        } else if (m instanceof ObjectMessage object) {
            line(number, "body.object", object.getObject());
        } else {
            line(number, "body", "none");
        }
    }

    static void line(int number, String name, Object value) {
        String type = value == null ? "null" : value.getClass().getSimpleName();
        String text = value instanceof byte[] b ? HexFormat.of().formatHex(b) : String.valueOf(value);
        System.out.println(number + " " + name + " " + type + " " + text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n"));
    }
}
